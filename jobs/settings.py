"""Every setting of blendq: read once, checked whole, frozen.

A setting comes from the environment (`BLENDQ_API_URL=…`), or from the TOML file that `BLENDQ_CONFIG` names
(`api_url = "…"`); the environment wins. An unknown name is refused in both places: a typing error must not
silently mean the default.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tempfile
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from jobs.doors import DEFAULT
from jobs.errors import SettingsError
from jobs.plain_words import in_plain_words
from jobs.setting_kinds import Folder, HttpUrl, Networks, PerSecond, RedisUrl, Seconds, WebhookSecret
from jobs.upstreams import ApiAuth, Upstream, Upstreams, single, to_json

PREFIX = "BLENDQ_"
CONFIG_VARIABLE = "BLENDQ_CONFIG"
# What is said of each upstream in a list of them.
_OF_ONE_API = ("api_url", "api_key", "api_auth", "api_account_filter", "slots")
# A Unix socket's path is limited by the kernel (108 bytes on Linux, 104 on macOS, the closing zero included).
MAX_SOCKET_PATH_BYTES = 100


class OnQueued(StrEnum):
    """What to do after the API answered 22, "queued".

    `confirm`: back off, look the task up, and resubmit only when the API does not know it.
    `resubmit`: always resubmit after the backoff, cancelling the earlier task where the API can.
    `wait`: never resubmit.
    """

    CONFIRM = "confirm"
    RESUBMIT = "resubmit"
    WAIT = "wait"


def _default_data_dir() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "blendq"


class Settings(BaseModel):
    """All settings, with local defaults that need no setting at all.

    A real API needs three: `api_url`, `api_key`, and `public_url`, where it can reach the receiver.
    """

    # An address or a secret that cannot be is in no traceback either.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Where things are kept.
    data_dir: Annotated[
        Path, AfterValidator(Path.expanduser), Field(description="pictures, and the embedded server's data")
    ] = Field(default_factory=_default_data_dir)
    redis_url: Annotated[  # it may have a password
        RedisUrl | None, Field(repr=False, description="absent: the embedded server")
    ] = None

    # The API.
    api_url: Annotated[HttpUrl | None, Field(description="where /mj/submit/blend lives; a mode may be part of it")] = (
        None
    )
    api_key: Annotated[SecretStr | None, Field(description="the API key")] = None
    api_auth: Annotated[ApiAuth, Field(description="the header that carries the key")] = ApiAuth.MJ_API_SECRET
    api_account_filter: Annotated[
        bool, Field(description="older servers: send instance_id, modes and remix inside accountFilter")
    ] = False

    upstreams: Annotated[
        Upstreams, Field(description="several APIs instead of this one; in the environment as JSON (docs/upstreams.md)")
    ] = ()

    # The webhook receiver.
    public_url: Annotated[
        HttpUrl | None, Field(description="where the API reaches the receiver; absent: no callbacks")
    ] = None
    receiver_host: Annotated[str, Field(description="address the receiver listens on")] = "127.0.0.1"
    receiver_port: Annotated[int, Field(ge=0, le=65535, description="0: any free port")] = 8791
    hook_secret: Annotated[
        SecretStr | None,
        Field(min_length=16, description="signs the callback addresses; absent: made and kept in data_dir"),
    ] = None
    hook_secret_previous: Annotated[
        SecretStr | None, Field(min_length=16, description="still accepted while the secret is being changed")
    ] = None
    receiver_trusted_proxies: Annotated[
        Networks, Field(description="networks of reverse proxies, with commas: their X-Forwarded-For is believed")
    ] = ""
    receiver_connections: Annotated[int, Field(ge=1, le=100_000, description="open at once")] = 4096
    receiver_connections_per_address: Annotated[
        int, Field(ge=1, le=100_000, description="open at once; does not count for a trusted proxy")
    ] = 512
    receiver_head_seconds: Annotated[Seconds, Field(description="a request's head must come in this time")] = 10.0
    receiver_body_seconds: Annotated[Seconds, Field(description="and its body in this")] = 10.0
    receiver_store_seconds: Annotated[Seconds, Field(description="503 when a callback is not written in this time")] = (
        3.0
    )
    receiver_forged_per_second: Annotated[
        PerSecond, Field(description="forged requests of one address that get 404; the others get 429")
    ] = 50.0
    receiver_callbacks_per_second: Annotated[
        PerSecond, Field(description="callbacks for one job; more of them get 429")
    ] = 20.0

    # The HTTP API for other services.
    service_host: Annotated[
        str, Field(description="address the HTTP API listens on; another than loopback needs tokens")
    ] = "127.0.0.1"
    service_port: Annotated[int, Field(ge=0, le=65535, description="0: any free port")] = 8793
    service_requests: Annotated[int, Field(ge=1, le=10_000, description="answered at once; more of them get 503")] = 64
    service_requests_per_second: Annotated[PerSecond, Field(description="with one token; more of them get 429")] = 100.0
    service_connections: Annotated[
        int, Field(ge=1, le=100_000, description="open at once; then the one that has been idle the longest is closed")
    ] = 1024
    service_head_seconds: Annotated[Seconds, Field(description="a request's head must come in this time")] = 30.0
    service_body_seconds: Annotated[
        Seconds, Field(description="and its body in this; of a batch, the first line and each next")
    ] = 120.0
    service_max_body_bytes: Annotated[
        int, Field(ge=1024, le=1 << 30, description="of a job in JSON, its data URLs included; more gets 413")
    ] = 32 << 20

    schedule_root: Annotated[
        Folder | None,
        Field(description="folder that the manifests of schedules by HTTP must be in; absent: there are none by HTTP"),
    ] = None

    # What jobs' own notify_hook is told.
    webhook_secret: Annotated[
        WebhookSecret | None,
        Field(description="signs what is sent to a job's notify_hook; whsec_…; absent: made and kept in data_dir"),
    ] = None
    webhook_secret_previous: Annotated[
        WebhookSecret | None, Field(description="signs beside it while the secret is being changed")
    ] = None

    # Flow.
    slots: Annotated[
        int | None, Field(ge=1, le=10_000, description="jobs at the API at once; absent: blendq finds them")
    ] = None
    waiting_per_running: Annotated[
        float | None,
        Field(
            ge=0,
            le=10,
            description="jobs that wait in the API's own queue, for each that it works on; "
            "absent: none, or one in ten where no callbacks come",
        ),
    ] = None
    ask_accounts: Annotated[
        bool, Field(description="ask the API for its accounts now and then, as a hint at how many jobs it takes")
    ] = True
    workers: Annotated[
        int, Field(ge=1, le=64, description="worker processes of `blendq up`, `blendq run` and docker compose")
    ] = 1
    worker_threads: Annotated[int, Field(ge=1, le=256, description="submissions and downloads at once per worker")] = 16
    on_queued: Annotated[OnQueued, Field(description="after a code 22: confirm, resubmit or wait")] = OnQueued.CONFIRM
    backoff_base_seconds: Annotated[Seconds, Field(description="the first backoff; each next is twice as long")] = 2.0
    backoff_cap_seconds: Annotated[Seconds, Field(description="no backoff is longer")] = 120.0
    resubmit_limit_seconds: Annotated[Seconds, Field(description="give up when nothing was accepted for so long")] = (
        86400.0
    )
    queued_patience_seconds: Annotated[
        Seconds, Field(description="a task not started for so long is cancelled there, then resubmitted")
    ] = 1800.0
    pause_seconds: Annotated[Seconds, Field(description="how long submitting stops after a refused key or quota")] = (
        300.0
    )

    # Estimates, of `blendq run --dry-run`.
    price_per_job: Annotated[
        float | None, Field(gt=0, allow_inf_nan=False, description="what a submission costs, in any currency")
    ] = None
    seconds_per_job: Annotated[Seconds, Field(description="how long the API mostly takes for one")] = 60.0

    min_free_disk_percent: Annotated[
        float, Field(ge=0, lt=100, description="submitting stops when less of data_dir's disk is free; 0: never")
    ] = 5.0

    keep_finished_days: Annotated[
        float | None,
        Field(
            gt=0,
            le=36_500,
            allow_inf_nan=False,
            description="then a finished campaign, or job without one, is forgotten; absent: never",
        ),
    ] = None

    # Times of one submission.
    lease_seconds: Annotated[
        Seconds, Field(description="a worker that is silent for so long has lost its job; a living one says so often")
    ] = 20.0
    connect_timeout_seconds: Annotated[Seconds, Field(description="for a connection to the API")] = 10.0
    write_timeout_seconds: Annotated[Seconds, Field(description="for 64 KiB of an upload")] = 15.0
    answer_timeout_seconds: Annotated[Seconds, Field(description="for the API's answer, once all is sent")] = 60.0
    upload_timeout_seconds: Annotated[Seconds, Field(description="for a whole upload")] = 300.0

    # Asking about silent jobs.
    poll_min_seconds: Annotated[Seconds, Field(description="ask about a new task after so long")] = 2.0
    poll_max_seconds: Annotated[Seconds, Field(description="ask about an old task at least so often")] = 30.0
    silence_seconds: Annotated[
        Seconds, Field(description="where callbacks are expected: ask after this much silence")
    ] = 45.0
    missing_after_seconds: Annotated[Seconds, Field(description="a task absent for so long is lost there")] = 600.0
    missing_absences: Annotated[int, Field(ge=1, le=100, description="and after so many absences")] = 3
    unsure_limit_seconds: Annotated[Seconds, Field(description="then an unsure job is parked")] = 900.0
    task_limit_seconds: Annotated[Seconds, Field(description="an accepted task silent for so long is parked")] = 21600.0
    collect_limit_seconds: Annotated[
        Seconds, Field(description="then a picture that cannot be fetched parks its job")
    ] = 86400.0

    fetch_seeds: Annotated[
        bool, Field(description="ask for the seed of each finished picture, where the API knows the call")
    ] = False

    # Outbound.
    allowed_networks: Annotated[
        Networks,
        Field(
            description="networks beside the public internet that links may lead to, such as 10.1.0.0/16,fd00::/8; "
            "the API's own host and port are always allowed"
        ),
    ] = ""

    # Limits on every input.
    max_image_bytes: Annotated[int, Field(ge=1024, le=1 << 30, description="of a picture that is sent")] = 20 << 20
    max_image_pixels: Annotated[int, Field(ge=1024, le=1 << 30, description="width times height")] = 64_000_000
    max_result_bytes: Annotated[int, Field(ge=1024, le=1 << 30, description="of a finished picture")] = 64 << 20

    @model_validator(mode="after")
    def _times_are_ordered(self) -> Self:
        if self.backoff_base_seconds > self.backoff_cap_seconds:
            raise ValueError("backoff_base_seconds must not exceed backoff_cap_seconds")
        if self.poll_min_seconds > self.poll_max_seconds:
            raise ValueError("poll_min_seconds must not exceed poll_max_seconds")
        return self

    @model_validator(mode="after")
    def _one_api_or_a_list(self) -> Self:
        both = [name for name in _OF_ONE_API if getattr(self, name) != type(self).model_fields[name].default]
        if self.upstreams and both:
            raise ValueError(
                f"{both[0]} and upstreams are both set; say it in the list, of the one that it is about "
                f'(the name "{DEFAULT}" goes on with what was found of the one API so far)'
            )
        return self

    @property
    def apis(self) -> tuple[Upstream, ...]:
        """The APIs that jobs may go to; none where none is configured."""
        if self.upstreams or self.api_url is None:
            return self.upstreams
        return (single(self.api_url, self.api_key, self.api_auth, self.api_account_filter, self.slots),)

    @property
    def upstream_names(self) -> list[str]:
        return [one.name for one in self.apis]

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
        """Read the environment and the settings file.

        Args:
            environ: instead of `os.environ`.
            overrides: settings that win over both; None means "not given".

        Raises:
            SettingsError: names every setting that is unknown or malformed, and never shows a value.
        """
        environ = os.environ if environ is None else environ
        values = _from_file(environ.get(CONFIG_VARIABLE)) | _from_environment(environ)
        values |= {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = in_plain_words(error, "setting", _spelled)
            raise SettingsError(f"settings: {problems} (`blendq settings` lists them all)") from error

    def redis_address(self) -> str:
        """The URL of Redis: the one that is set, else the embedded server's socket under `data_dir`."""
        return self.redis_url or f"unix://{self.socket_path()}"

    def socket_path(self) -> Path:
        """Where the embedded server of this `data_dir` listens; a short stand-in where the kernel's limit forbids."""
        path = self.data_dir.absolute() / "redis.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
            return path
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"blendq-{os.getuid()}" / f"{name}.sock"

    def to_environment(self) -> dict[str, str]:
        """These settings as variables for a child process; secrets in the clear, so never log the result."""
        given = {name: value for name, value in self if value not in (None, "", ())}
        return {PREFIX + name.upper(): str(_plain(value)) for name, value in given.items()}


def _spelled(name: str) -> str:
    if "." in name:  # of a list of upstreams
        return repr(name)
    close = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return PREFIX + name.upper() + (f" (did you mean {PREFIX}{close[0].upper()}?)" if close else "")


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return to_json(value)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """An unknown BLENDQ_ name is passed on too, so that `Settings` refuses it; an empty value means "not set"."""
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE and value != ""
    }


def _from_file(name: str | None) -> dict[str, Any]:
    if not name:
        return {}
    try:
        return tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"settings file {name}: {error.strerror}; {CONFIG_VARIABLE} must name a readable file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {name}: not TOML: {error}") from error
