"""Bad input, in tables: what a user gives, what is answered, and the words that must be in it.

The files that they name are made by `make_files`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tests.integration.service import flat, noise

USAGE, BAD, OTHER = 2, 4, 1
GOOD = {"images": ["1.png", "2.png"]}
NO_DIGEST = f"sha256:{'0' * 64}"
API = {"BLENDQ_API_URL": "http://127.0.0.1:1", "BLENDQ_API_KEY": "x"}


def make_files(folder: Path) -> None:
    """What a user may have lying about."""
    for number, colour in enumerate(("red", "green", "blue"), 1):
        Image.new("RGB", (32, 32), colour).save(folder / f"{number}.png")
    good = (folder / "1.png").read_bytes()
    contents = {"words.png": b"words", "empty.png": b"", "cut.png": good[:60], "bomb.png": flat(9000)}
    contents |= {"large.png": good + bytes(21 << 20), "file": b"a file", "good.csv": b"image1,image2\n1.png,2.png\n"}
    contents |= {"bad.toml": b"slots = \n", "wrong.toml": b"slotz = 3\n"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    (folder / "loop.csv").symlink_to("loop.csv")
    (folder / "away.png").symlink_to("/nowhere/1.png")
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.png")


@dataclass(frozen=True)
class Command:
    """`blendq` with these words."""

    words: str | list[str]
    code: int
    said: str
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def argv(self) -> list[str]:
        return self.words.split() if isinstance(self.words, str) else self.words


# Commands that know no place, or must not be told ours.
ANYWHERE = [
    Command("--nonsense", USAGE, "No such option '--nonsense'"),
    Command("nonsense", USAGE, "No such command 'nonsense'"),
    Command("job nonsense", USAGE, "No such command 'nonsense'"),
    Command("run", USAGE, "Missing argument"),
    Command("doctor nonsense", USAGE, "unexpected extra argument"),
    Command("health nonsense", USAGE, "No such command 'nonsense'"),
    Command("run good.csv --data-dir new", USAGE, "BLENDQ_API_URL"),
    Command("up --data-dir new", USAGE, "no API is configured"),
    Command("run good.csv --data-dir new --speed 3", USAGE, "--speed is the sandbox's"),
    Command("run good.csv --sandbox --data-dir file", USAGE, "data folder file: a file is in its way"),
    Command("run good.csv --sandbox --data-dir file/x", USAGE, "data folder file/x: a file is in its way"),
    Command(["run", "good.csv", "--sandbox", "--data-dir", ""], USAGE, "it is empty; name a folder"),
    Command("run good.csv --sandbox=nonsense --data-dir new", USAGE, "'nonsense' is not one of"),
    Command("job show job_x --data-dir new", OTHER, "there are no jobs in new"),
    Command("sandbox --nonsense", USAGE, "unrecognized arguments: --nonsense"),
    Command("sandbox --speed fast", USAGE, "invalid float value: 'fast'"),
    Command("sandbox --port 99999", USAGE, "--port must be from 0 to 65535"),
    Command("settings", USAGE, "unknown setting BLENDQ_SLOTZ (did you mean BLENDQ_SLOTS?)", {"BLENDQ_SLOTZ": "3"}),
    Command("doctor", USAGE, "slots must be a whole number", {"BLENDQ_SLOTS": "many"}),
    Command("doctor", USAGE, "slots must be at least 1", {"BLENDQ_SLOTS": "0"}),
    Command("doctor", USAGE, "api_account_filter must be true or false", {"BLENDQ_API_ACCOUNT_FILTER": "perhaps"}),
    Command("doctor", USAGE, "service_port must be at most 65535", {"BLENDQ_SERVICE_PORT": "70000"}),
    Command("doctor", USAGE, "poll_min_seconds must be a finite number", {"BLENDQ_POLL_MIN_SECONDS": "inf"}),
    Command("doctor", USAGE, "settings: poll_min_seconds must not exceed", {"BLENDQ_POLL_MIN_SECONDS": "40"}),
    Command("doctor", USAGE, "api_url: must look like https://host", {"BLENDQ_API_URL": "htp:/nowhere"}),
    Command("doctor", USAGE, "redis_url: must start with redis://", {"BLENDQ_REDIS_URL": "http://here"}),
    Command("doctor", USAGE, "redis_url: must look like", {"BLENDQ_REDIS_URL": "redis://:s3cret/x@here"}),
    Command("doctor", USAGE, "redis_url: must look like", {"BLENDQ_REDIS_URL": "redis://here/first"}),
    Command("doctor", USAGE, "redis_url: must look like", {"BLENDQ_REDIS_URL": "redis://here?colour=red"}),
    Command("doctor", USAGE, "is not a network such as", {"BLENDQ_ALLOWED_NETWORKS": "10.0.0.0/99"}),
    Command("doctor", USAGE, "hook_secret must be at least 16 long", {"BLENDQ_HOOK_SECRET": "s3cret"}),
    Command("doctor", USAGE, "on_queued must be one of", {"BLENDQ_ON_QUEUED": "s3cret"}),
    Command("doctor", USAGE, "gone.toml: No such file", {"BLENDQ_CONFIG": "gone.toml"}),
    Command("doctor", USAGE, "folder: Is a directory", {"BLENDQ_CONFIG": "folder"}),
    Command("doctor", USAGE, "bad.toml: not TOML", {"BLENDQ_CONFIG": "bad.toml"}),
    Command("doctor", USAGE, "unknown setting BLENDQ_SLOTZ", {"BLENDQ_CONFIG": "wrong.toml"}),
    Command("submit 1.png 2.png", OTHER, "no Redis answers at redis://", {"BLENDQ_REDIS_URL": "redis://127.0.0.1:1"}),
    Command(
        "run good.csv --data-dir new", OTHER, "no Redis answers", API | {"BLENDQ_REDIS_URL": "redis://127.0.0.1:1"}
    ),
]
# Commands about the stack that runs.
HERE = [
    Command("submit 1.png", BAD, "2 to 5 pictures, not 1"),
    Command("submit 1.png 2.png 3.png 1.png 2.png 3.png", BAD, "2 to 5 pictures, not 6"),
    Command("submit 1.png gone.png", BAD, "gone.png: no such file"),
    Command("submit 1.png away.png", BAD, "away.png: no such file"),
    Command("submit 1.png words.png", BAD, "words.png: is not a picture"),
    Command("submit 1.png empty.png", BAD, "empty.png: is empty"),
    Command("submit 1.png cut.png", BAD, "cut.png: is truncated or broken"),
    Command("submit 1.png bomb.png", BAD, "raise BLENDQ_MAX_IMAGE_PIXELS"),
    Command("submit 1.png large.png", BAD, "raise BLENDQ_MAX_IMAGE_BYTES"),
    Command("submit 1.png folder", BAD, "folder: is a folder"),
    Command("submit 1.png pipe.png", BAD, "pipe.png: is not a regular file"),
    Command("submit 1.png loop.csv", BAD, "loop.csv: cannot be read (Too many levels"),
    Command("submit 1.png file:///etc/passwd", BAD, "file:///etc/passwd: is no http or https address"),
    Command("submit 1.png http://127.0.0.1:1/a.png", BAD, "add it to BLENDQ_ALLOWED_NETWORKS"),
    Command("submit 1.png http://10.0.0.1/a.png", BAD, "10.0.0.1, which is not on the public internet"),
    Command("submit 1.png https://me:s3cret@host.invalid/a.png", BAD, "a user name before its host"),
    Command("submit 1.png http://no.invalid/a.png", BAD, "no such host: no.invalid"),
    Command("submit 1.png data:image/png;base64,@@@", BAD, "image 2: its base64 is broken"),
    Command(f"submit 1.png {NO_DIGEST}", BAD, "is not in the image store"),
    Command(["submit", "1.png", ""], BAD, "a picture's name is empty"),
    Command("submit 1.png 2.png --dimensions ROUND", USAGE, "'ROUND' is not one of"),
    Command("submit 1.png 2.png --priority -1", USAGE, "-1 is not in the range"),
    Command("submit 1.png 2.png --metadata {", USAGE, "--metadata is not JSON"),
    Command("submit 1.png 2.png --metadata []", BAD, "metadata must be an object"),
    Command("submit 1.png 2.png --notify-hook ftp://me", BAD, "must be an http:// or https:// address"),
    Command("submit 1.png 2.png --wait --timeout nan", USAGE, "nan is not a finite number"),
    Command("job act job_none U1 --wait --timeout nan", USAGE, "nan is not a finite number"),
    Command("submit 1.png 2.png --campaign ../x", USAGE, "campaign '../x': a name is"),
    Command(["submit", "1.png", "2.png", "--idempotency-key", ""], USAGE, "an idempotency key is 1 to 255"),
    Command(["submit", "1.png", "2.png", "--custom-id", ""], BAD, "custom_id must have 1 or more characters"),
    Command("run good.csv", USAGE, "is in use by process"),
    Command("up", USAGE, "is in use by process"),
    Command("run good.csv --out file", USAGE, "folder file: cannot be written (a file is in its way)"),
    Command("api", USAGE, "set BLENDQ_SERVICE_HOST to", {"BLENDQ_SERVICE_HOST": "192.0.2.1"}),
    Command("run gone.csv", BAD, "gone.csv: no such file"),
    Command("run loop.csv", BAD, "loop.csv: cannot be opened (Too many levels"),
    Command("run pipe.csv", BAD, "pipe.csv: is not a regular file"),
    Command("run file", BAD, "its name must end in .csv"),
    Command(f"run {'x' * 300}.csv", BAD, "cannot be opened (File name too long)"),
    Command("run folder", USAGE, "--pair"),
    Command("run good.csv --name ../{id}", USAGE, "takes no / and no"),
    Command("run good.csv --name {custom_id.__class__}", USAGE, "and no others"),
    Command("run good.csv --max-cost nan --price 1", USAGE, "nan is not a finite number"),
    Command("run good.csv --max-cost 1", USAGE, "--max-cost needs the price"),
    Command("run good.csv --max-submissions 0", USAGE, "0 is not in the range"),
    Command("run good.csv --stop-after-failures 200%", USAGE, "'200%' is no percentage"),
    Command("run good.csv --weight nan", USAGE, "nan is not a finite number"),
    Command(["run", "good.csv", "--campaign", "x\x1b[2J"], USAGE, "campaign 'x\\x1b[2J': a name is"),
    Command("job show job_none", OTHER, "there is no job 'job_none'"),
    Command("job cancel ../x", OTHER, "there is no job '../x'"),
    Command(["job", "retry", ""], OTHER, "there is no job ''"),
    Command("campaign show nobody", OTHER, "there is no campaign 'nobody'"),
    Command("campaign export default --out file", USAGE, "folder file: cannot be written"),
    Command("campaign export default --out new --name a/{id}", USAGE, "takes no / and no"),
    Command("campaign plan default --weight -1", USAGE, "weight must be more than 0"),
    Command("campaign plan default --max-submissions many", USAGE, "max_submissions must be a whole number"),
    Command("campaign plan default --stop-after-failures x", USAGE, "'x' is no percentage"),
    Command("campaign retry default --status waiting", USAGE, "'waiting' is not one of"),
    Command("campaign purge default --older-than 1e300", USAGE, "not in the range"),
    Command("schedule add n good.csv", USAGE, "(--cron) or a number of seconds (--every)"),
    Command(["schedule", "add", "n", "good.csv", "--cron", "61 * * * *"], USAGE, "'61 * * * *' never comes"),
    Command("schedule add n good.csv --cron @daily --timezone Mars/Olympus", USAGE, "no time zone 'Mars/Olympus'"),
    Command("schedule add n good.csv --every 1e300", USAGE, "every_seconds must be at most"),
    Command("schedule add n good.csv --every inf", USAGE, "inf is not a finite number"),
    Command("schedule add ../n good.csv --every 60", USAGE, "a name is"),
    Command("schedule run nobody", OTHER, "there is no schedule 'nobody'"),
    Command("webhook add ftp://here", USAGE, "neither http nor https"),
    Command(f"webhook add https://here/{'x' * 2000}", USAGE, "over the limit of 2000 characters"),
    Command("webhook add https://here --events job.done", USAGE, "there is no event 'job.done'"),
    Command(["webhook", "add", "https://here", "--events", ""], USAGE, "--events names none"),
    Command("webhook test wh_none", OTHER, "there is no webhook wh_none"),
    Command("webhook replay --since yesterday", USAGE, "'yesterday' is no time"),
    Command(["token", "create", "a b"], USAGE, "token 'a b': a name is"),
    Command("token create x --scope root", USAGE, "'root' is not one of"),
    Command("token revoke nobody", USAGE, "there is no token 'nobody'"),
]


@dataclass(frozen=True)
class Manifest:
    """`blendq run` with a manifest of this content."""

    name: str
    content: str | bytes
    said: str


def _rows(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _row(**fields: Any) -> Manifest:
    """One JSONL row that is good but for these; each is told of with its line."""
    said = fields.pop("said")
    return Manifest("m.jsonl", _rows(GOOD | fields), f"  line 1: {said}")


MANIFESTS = [
    Manifest("m.csv", "", "is empty; begin with a header row"),
    Manifest("m.csv", "image1,image2\n", "has no rows"),
    Manifest("m.csv", "image1,image1\n1.png,2.png\n", "the column image1 is given twice"),
    Manifest("m.csv", "image1,image2,dimension\n1.png,2.png,SQUARE\n", "did you mean dimensions?"),
    Manifest("m.csv", "dimensions\nSQUARE\n", "has no picture columns"),
    Manifest("m.csv", 'image1,image2\n"1.png,2.png\n', "line 2: is not CSV: a quote that opens here is never closed"),
    Manifest("m.csv", 'image1,image2\n"1.png"x,2.png\n', "line 2: is not CSV"),
    Manifest("m.csv", "image1,image2\n1.png,2.png,3.png\n", "has 3 cells, but the header has 2"),
    Manifest("m.csv", "image1,image2,priority\n1.png,2.png,-1\n", "priority must be at least 0"),
    Manifest("m.csv", "image1,image2,priority\n1.png,2.png,high\n", "priority must be a whole number"),
    Manifest("m.csv", "custom_id,image1,image2\na,1.png,2.png\na,1.png,3.png\n", "custom_id 'a' is used on line 2 too"),
    Manifest("m.csv", "image1,image2\n1.png,2.png\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    Manifest("m.csv", "custom_id,image1,image2\ncafé,1.png,2.png\n".encode("latin-1"), "line 2 is not UTF-8 text"),
    Manifest("m.csv", b"image1,image2\n1.png,2\0.png\n", "is not a text file (line 2)"),
    Manifest("m.csv", noise(), "is not UTF-8 text"),
    Manifest("m.json", json.dumps([GOOD]), "its name must end in .csv"),
    Manifest("m.jsonl", json.dumps([GOOD]), "line 1: the row must be a JSON object"),
    Manifest("m.jsonl", '{"images": ["1.png", "2.png"]', "line 1: the row is not JSON"),
    Manifest("m.jsonl", '{"images": ["1.png", "2.png"], "state": "\\ud800"}', "half a character"),
    Manifest("m.jsonl", '{"images": ["1.png", "2.png"], "metadata": {"a": 1e999}}', "a number that JSON cannot keep"),
    Manifest("m.jsonl", "[" * 100_000, "line 1: the row is nested too deeply"),
    Manifest("m.yaml", "", "has no rows"),
    Manifest("m.yaml", "words\n", "must be a list of rows"),
    Manifest("m.yaml", "jobs: [\n", "is not YAML"),
    Manifest("m.yaml", "jobs:\n\t- images: [1.png, 2.png]\n", "line 2: is not YAML"),
    Manifest("m.yaml", "- &a {images: [1.png, 2.png]}\n- *a\n", "line 2: has an alias"),
    Manifest("m.yaml", "- !!python/object/apply:os.system [id]\n", "line 1: must be fields with values"),
    _row(images="1.png", said="images must be a list"),
    _row(images=["1.png", 2], said="images.1 must be text"),
    _row(images=["1.png"], said="images: a blend takes 2 to 5 pictures, not 1"),
    _row(images=["1.png"] * 6, said="images: a blend takes 2 to 5 pictures, not 6"),
    _row(images=["1.png", "../../nowhere/x.png"], said=""),
    _row(images=["1.png", "file:///etc/passwd"], said="file:///etc/passwd: is no http or https address"),
    _row(images=["1.png", "http://[::1]/x.png"], said="http://[::1]/x.png: the picture is not fetched"),
    _row(images=["1.png", "a\0b"], said="'"),
    _row(dimensions="ROUND", said="dimensions must be one of"),
    _row(modes=["SLOW"], said="modes.0 must be one of"),
    _row(remix="perhaps", said="remix must be true or false"),
    _row(state="x" * 256, said="state is over the limit of 255 characters"),
    _row(metadata={"a": "x" * 5000}, said="metadata: is 5009 characters as JSON, over the limit of 4096"),
    _row(notify_hook="ftp://me", said="notify_hook: must be an http:// or https:// address"),
    _row(colour="red", said="unknown field 'colour'"),
]


@dataclass(frozen=True)
class Call:
    """A call of the HTTP API. `$1` and `$2` in a job stand for the digests of two pictures."""

    how: str
    status: int
    code: str
    said: str
    job: Any = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


JSON, NDJSON, PNG = ({"Content-Type": kind} for kind in ("application/json", "application/x-ndjson", "image/png"))
TWO = ["$1", "$2"]
JOBS, PICTURES, PLAN = "POST /v1/jobs", "PUT /v1/images", "PATCH /v1/campaigns/default/plan"
PICTURE_BY_DIGEST = "must be a digest from PUT /v1/images, or a data URL"


def _job(said: str, code: str = "invalid_request", **fields: Any) -> Call:
    return Call(JOBS, 422, code, said, job={"images": TWO} | fields)


CALLS = [
    Call(JOBS, 415, "media_type", "it says nothing", body=b"{}"),
    Call(JOBS, 415, "media_type", "it says 'text/plain'", body=b"{}", headers={"Content-Type": "text/plain"}),
    Call(JOBS, 400, "json", "the JSON cannot be read", body=b"", headers=JSON),
    Call(JOBS, 400, "json", "the JSON cannot be read", body=b"{", headers=JSON),
    Call(JOBS, 400, "json", "the JSON cannot be read", body="{}".encode("utf-16"), headers=JSON),
    Call(JOBS, 400, "json", "recursion limit", body=b'{"metadata":' + b"[" * 100_000, headers=JSON),
    Call(JOBS, 422, "invalid_request", "the JSON must be an object", body=b"[]", headers=JSON),
    Call(JOBS, 413, "too_large", "over the limit of 33,554,432 bytes", body=b" " * (33 << 20), headers=JSON),
    _job("2 to 5 pictures, not 1", images=["$1"]),
    _job("2 to 5 pictures, not 6", images=TWO * 3),
    _job("images must be a list", images="$1"),
    _job(PICTURE_BY_DIGEST, "picture", images=["$1", "/etc/passwd"]),
    _job(PICTURE_BY_DIGEST, "picture", images=["$1", "file:///etc/passwd"]),
    _job(PICTURE_BY_DIGEST, "picture", images=["$1", "http://10.0.0.1/a.png"]),
    _job("is not in the image store", "picture", images=["$1", NO_DIGEST]),
    _job("image 2: its base64 is broken", "picture", images=["$1", "data:image/png;base64,@@"]),
    _job("image 2: is not a picture", "picture", images=["$1", "data:image/png;base64,QUJD"]),
    _job("dimensions must be one of", dimensions="ROUND"),
    _job("priority must be at least 0", priority=-1),
    _job("priority must be a whole number", priority="high"),
    _job("unknown field 'colour'", colour="red"),
    _job("campaign '../x': a name is", "usage", campaign="../x"),
    _job("campaign must be text", campaign=7),
    _job("over the limit of 4096", metadata={"a": "x" * 5000}),
    _job("notify_hook: must be an http:// or https:// address", notify_hook="file:///x"),
    Call(JOBS, 400, "idempotency_key", "1 to 255 visible", {"images": TWO}, headers={"Idempotency-Key": ""}),
    Call(JOBS, 400, "idempotency_key", "1 to 255 visible", {"images": TWO}, headers={"Idempotency-Key": "a b"}),
    Call(JOBS, 400, "idempotency_key", "1 to 255 visible", {"images": TWO}, headers={"Idempotency-Key": "x" * 256}),
    Call("GET /v1/jobs/nobody", 404, "job_not_found", "there is no job 'nobody'"),
    Call("GET /v1/jobs/%00", 404, "job_not_found", "there is no job '\\x00'"),
    Call("GET /v1/jobs/..%2f..%2fetc", 404, "not_found", "there is nothing at this path"),
    Call("DELETE /v1/jobs/nobody", 404, "job_not_found", "there is no job 'nobody'"),
    Call("POST /v1/jobs/nobody/retry", 404, "job_not_found", "there is no job 'nobody'"),
    Call("GET /v1/jobs?limit=0", 422, "invalid_request", "limit must be at least 1"),
    Call("GET /v1/jobs?limit=many", 422, "invalid_request", "limit must be a whole number"),
    Call("GET /v1/jobs?after=nonsense", 422, "usage", "after: is no `next` of a page"),
    Call("GET /v1/jobs?status=done", 422, "invalid_request", "status.0 must be one of"),
    Call("GET /v1/jobs?campaign=a%20b", 422, "usage", "campaign 'a b': a name is"),
    Call("GET /v1/jobs?stauts=failed", 422, "invalid_request", "unknown parameter 'stauts'; this call takes after,"),
    Call(
        "POST /v1/jobs/nobody/retry?force=1", 422, "invalid_request", "unknown parameter 'force'; this call takes none"
    ),
    Call("GET /v1/campaigns/nobody", 404, "campaign_not_found", "there is no campaign 'nobody'"),
    Call("POST /v1/campaigns/nobody/cancel", 404, "campaign_not_found", "there is no campaign 'nobody'"),
    Call("POST /v1/campaigns/default/retry?status=waiting", 422, "usage", "only failed, cancelled and parked jobs"),
    Call(PLAN, 400, "json", "the JSON cannot be read", body=b"{", headers=JSON),
    Call(PLAN, 422, "invalid_request", "weight must be a number", job={"weight": "heavy"}),
    Call(PLAN, 422, "usage", "weight must be more than 0", job={"weight": -1}),
    Call(PLAN, 422, "usage", "stop_after_failures must be at most 1", job={"stop_after_failures": 20}),
    Call(PLAN, 422, "invalid_request", "unknown field 'colour'", job={"colour": "red"}),
    Call("GET /v1/events", 400, "last_event_id", "is not the id of an event", headers={"Last-Event-ID": "x"}),
    Call("GET /v1/nonsense", 404, "not_found", "there is nothing at this path"),
    Call("PATCH /v1/jobs", 405, "method_not_allowed", "does not take this method"),
    Call("GET /v1/images/..%2f..%2fredis", 404, "not_found", "there is nothing at this path"),
    Call("GET /v1/images/x", 404, "picture_missing", "there is no such picture"),
    Call(PICTURES, 415, "picture", "is not a picture", body=b"", headers=PNG),
    Call(PICTURES, 415, "picture", "is not a picture", body=b"words", headers=PNG),
    Call(PICTURES, 415, "media_type", "'text/plain' is no picture", body=b"x", headers={"Content-Type": "text/plain"}),
    Call(PICTURES, 422, "picture", "is truncated or broken", body=noise()[:60], headers=PNG),
    Call(PICTURES, 413, "too_large", "over the limit of 64,000,000 pixels", body=flat(9000), headers=PNG),
    Call(PICTURES, 413, "too_large", "over the limit of 20,971,520 bytes", body=bytes(21 << 20), headers=PNG),
    Call(PICTURES, 400, "form", "it must hold one file", body=b"x", headers={"Content-Type": "multipart/form-data"}),
    Call("POST /v1/jobs:batch", 415, "media_type", "must be application/x-ndjson", job=[]),
    Call("GET /v1/jobs", 401, "unauthorized", "this token is not known", headers={"Authorization": "Bearer s3cret"}),
    Call("GET /v1/jobs", 401, "unauthorized", "this token is not known", headers={"Authorization": "Basic s3cret"}),
    Call("GET /v1/jobs", 403, "origin", "only programs of this machine", headers={"Host": "evil.test"}),
]
BATCH = [
    (b"{", "json", "the JSON cannot be read"),
    (b"[]", "invalid_request", "the JSON must be an object"),
    (b"\xff", "json", "the JSON cannot be read"),
    (b'{"images": []}', "invalid_request", "2 to 5 pictures, not 0"),
    (b'{"images": ["a.png", "b.png"]}', "picture", PICTURE_BY_DIGEST),
    (b'{"images": ["$1", "$2"], "idempotency_key": "a b"}', "invalid_request", "idempotency_key must look like"),
    (b'{"images": ["$1", "$2"], "campaign": "../x"}', "usage", "campaign '../x': a name is"),
    (b" " * (33 << 20), "too_large", "over the limit"),
]
