"""What would hurt if it were lost from docker-compose.yml, redis.conf, the Dockerfile and constraints.txt.

The files are read as text, block by block: no YAML library is among the dependencies. Where a docker-compose is
installed, it is asked too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from jobs.queue import SUBMISSION_MARGIN_SECONDS
from jobs.settings import CONFIG_VARIABLE, PREFIX, Settings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
# Each part's user of Redis, by the name of its service.
REDIS_USERS = {"worker": "worker", "beat": "beat", "receiver": "receiver", "flower": "flower", "cli": "producer"}
REDIS_USERS |= {"scheduler": "producer", "api": "producer"}
REDIS_PASSWORDS = (
    "REDIS_PASSWORD",
    *(f"REDIS_{user.upper()}_PASSWORD" for user in dict.fromkeys(REDIS_USERS.values())),
)
REQUIRED = (*REDIS_PASSWORDS, "BLENDQ_HOOK_SECRET", "FLOWER_BASIC_AUTH")
# They must be thought of, and are empty where a list of several APIs stands in their place.
THE_ONE_API = ("BLENDQ_API_URL", "BLENDQ_API_KEY")
ALWAYS = ("redis", "worker", "beat", "receiver", "flower")
# Settings that the file fixes only where one part alone needs them.
OF_ONE_PART = {f"BLENDQ_{part}_{what}" for part in ("RECEIVER", "SERVICE") for what in ("HOST", "PORT")}


def blocks(text: str, indent: int) -> dict[str, str]:
    """The mappings at one depth of a block: name -> everything below it."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if head := re.match(rf"^ {{{indent}}}([\w-]+):", line):
            name = head[1]
            found[name] = [line[head.end() :]]
        elif name and (not line.strip() or len(line) - len(line.lstrip()) > indent):
            found[name].append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


WITHOUT_COMMENTS = "\n".join(line for line in COMPOSE.splitlines() if not line.lstrip().startswith("#"))
SECTIONS = blocks(WITHOUT_COMMENTS, 0)
SERVICES = blocks(SECTIONS["services"], 2)


def parts(service: str) -> dict[str, str]:
    return blocks(SERVICES[service], 4)


def networks(service: str) -> set[str]:
    return set(re.findall(r"[\w-]+", parts(service)["networks"]))


def test_the_services_are_those_that_the_tests_below_look_at() -> None:
    assert set(SERVICES) == {*ALWAYS, "api", "cli", "sandbox", "scheduler"}


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_secret_is_refused(name: str) -> None:
    uses = re.findall(rf"\$\{{{name}\b([^}}]*)", WITHOUT_COMMENTS)
    assert uses
    assert all(use.startswith(f":?set {name} to ") for use in uses)


@pytest.mark.parametrize("name", THE_ONE_API)
def test_an_api_that_is_not_thought_of_is_refused(name: str) -> None:
    (use,) = re.findall(rf"\$\{{{name}\b([^}}]*)", COMPOSE)
    assert use.startswith(f"?set {name} to ")


def test_no_secret_stands_in_the_file() -> None:
    for name in (*REQUIRED, *THE_ONE_API, "BLENDQ_HOOK_SECRET_PREVIOUS", "BLENDQ_UPSTREAMS"):
        for line in COMPOSE.splitlines():
            if re.match(rf"\s+{name}:", line):
                assert re.fullmatch(rf"\s+{name}:(?: \$\{{{name}:?\?[^}}]+\}})?", line), line


def test_only_the_receiver_flower_and_the_http_api_publish_a_port() -> None:
    assert {name for name in SERVICES if "ports" in parts(name)} == {"receiver", "flower", "api"}
    assert not any("network_mode" in parts(name) for name in SERVICES)


def test_flower_listens_on_this_machine_only_and_changes_nothing() -> None:
    assert parts("flower")["ports"].strip() == '["127.0.0.1:${FLOWER_PORT:-5555}:5555"]'
    assert "--read-only" in parts("flower")["command"]
    assert "FLOWER_BASIC_AUTH" in parts("flower")["environment"]


def test_the_http_api_is_started_when_asked_for_and_listens_on_this_machine_unless_told_otherwise() -> None:
    assert parts("api")["profiles"].strip() == "[api]"
    assert parts("api")["ports"].strip() == '["${SERVICE_BIND:-127.0.0.1}:${SERVICE_PORT:-8793}:8793"]'


def test_redis_is_reached_by_its_clients_only() -> None:
    assert networks("redis") == {"inside", "receiver-redis"}
    for name in networks("redis"):
        assert "internal: true" in blocks(SECTIONS["networks"], 2)[name]
    assert not networks("redis") & networks("sandbox")
    for name in ("redis.conf", "redis-users.acl", "redis-users.sh"):
        assert f"./ops/{name}:/etc/blendq/{name}:ro" in parts("redis")["volumes"]
        assert (ROOT / "ops" / name).is_file()
    assert "redis-data:/data" in parts("redis")["volumes"]


def test_the_receiver_meets_nothing_but_redis_and_its_callers() -> None:
    """Whoever takes it over finds no other part, no picture, and no way out."""
    assert networks("receiver") == {"receiver-redis", "callbacks"}
    for name in set(SERVICES) - {"receiver", "redis", "sandbox"}:
        assert not networks(name) & networks("receiver")
    assert "volumes" not in parts("receiver")
    assert parts("receiver")["tmpfs"].strip() == "*no-data"


def test_a_published_port_leads_in_and_not_out() -> None:
    known = blocks(SECTIONS["networks"], 2)
    assert 'com.docker.network.bridge.enable_ip_masquerade: "false"' in known["callbacks"]
    assert "&way-in" in known["callbacks"]
    assert known["pages"].strip() == "*way-in"
    assert {name for name in SERVICES if "outside" in networks(name)} == {"worker", "sandbox"}


def test_every_part_is_a_user_of_redis_of_its_own() -> None:
    """The least that it needs (ops/redis-users.acl), and the password of no other."""
    for service in set(SERVICES) - {"redis", "sandbox"}:
        user = REDIS_USERS[service]
        password = f"REDIS_{user.upper()}_PASSWORD"
        environment = parts(service)["environment"]
        assert re.search(
            rf"BLENDQ_REDIS_URL: redis://{user}:\$\{{{password}:\?[^}}]+\}}@redis:6379/0$", environment, re.MULTILINE
        )
        assert set(re.findall(r"\$\{(REDIS_\w*PASSWORD)", SERVICES[service])) == {password}
    assert "REDIS_" not in SERVICES["sandbox"]


def test_redis_passwords_stand_in_no_command_line() -> None:
    """They are in the environment of the container; `redis-users.sh` makes digests of them, read by standard input."""
    command = parts("redis")["command"]
    assert "users=$$(sh /etc/blendq/redis-users.sh) || exit" in command
    assert re.search(r"exec redis-server [^\n]* - <<END\n\s*\$\$users\n\s*END", command)
    assert "PASSWORD" not in command
    assert "AUTH" not in command
    assert set(re.findall(r"(\w+): \$\{REDIS_\w*PASSWORD", parts("redis")["environment"])) == {
        "REDISCLI_AUTH",
        *REDIS_PASSWORDS[1:],
    }


def test_every_lasting_service_has_a_healthcheck_that_asks_it() -> None:
    for name in set(SERVICES) - {"redis", "cli"}:
        assert f"test: [CMD, blendq, health, {name}]" in parts(name)["healthcheck"]
    assert "aof_last_write_status:ok" in parts("redis")["healthcheck"]


def test_every_service_is_confined() -> None:
    common = SECTIONS["x-every-service"]
    for line in ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]', "max-size: 10m"):
        assert line in common
    assert "<<: *every-service" in SECTIONS["x-blendq"]
    for name, text in SERVICES.items():
        assert f"<<: *{'every-service' if name == 'redis' else 'blendq'}" in text
        assert "mem_limit" in parts(name)
        assert not {"privileged", "cap_add", "read_only", "security_opt", "cap_drop"} & set(parts(name))
    assert parts("redis")["user"].strip() == '"999:999"'
    assert not any("user" in parts(name) for name in set(SERVICES) - {"redis"})


def test_no_image_is_whatever_is_the_latest() -> None:
    dockerfile = (ROOT / "ops/Dockerfile").read_text(encoding="utf-8")
    images = re.findall(r"(?:image|PYTHON_IMAGE)(?:: |=)(\S+)", COMPOSE + dockerfile)
    assert len(images) == 4  # ours, Redis, and Python twice
    for image in images:
        tag = re.search(r":([\w.-]+)}?$", image.replace(":-", " "))
        assert tag is not None, image
        assert tag[1] != "latest"


def test_the_worker_may_finish_one_submission_before_it_is_killed() -> None:
    settings = Settings()
    longest = settings.upload_timeout_seconds + settings.answer_timeout_seconds + SUBMISSION_MARGIN_SECONDS
    grace = re.fullmatch(r"\s*(\d+)m\s*", parts("worker")["stop_grace_period"])
    assert grace is not None
    assert int(grace[1]) * 60 > longest


def test_every_variable_is_a_setting_and_every_setting_can_be_given() -> None:
    names = set(re.findall(rf"\b{PREFIX}[A-Z_]+", COMPOSE))
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    assert CONFIG_VARIABLE not in names  # a file of settings is not mounted, so naming one could only mislead
    assert names == settings


def test_what_decides_about_a_job_is_the_same_in_every_part() -> None:
    given = set(re.findall(rf"^  ({PREFIX}\w+):", SECTIONS["x-settings"], re.MULTILINE))
    elsewhere = set(re.findall(rf"{PREFIX}\w+(?=:)", "".join(parts(name).get("environment", "") for name in SERVICES)))
    assert elsewhere - OF_ONE_PART == {
        f"{PREFIX}{name}" for name in ("API_URL", "API_KEY", "API_AUTH", "API_ACCOUNT_FILTER", "UPSTREAMS", "REDIS_URL")
    }
    others = "".join(parts(name).get("environment", "") for name in set(SERVICES) - {"worker"})
    assert not {"BLENDQ_API_KEY", "BLENDQ_UPSTREAMS"} & set(re.findall(r"BLENDQ_[A-Z_]+", others))
    assert {"BLENDQ_PUBLIC_URL", "BLENDQ_ANSWER_TIMEOUT_SECONDS", "BLENDQ_SILENCE_SECONDS"} <= given
    for name in ("worker", "receiver", "beat", "flower", "cli", "scheduler", "api"):
        assert "*settings" in parts(name)["environment"]


def test_redis_keeps_what_it_acknowledged() -> None:
    lines = (ROOT / "ops/redis.conf").read_text(encoding="utf-8").splitlines()
    assert {
        "appendonly yes",
        "appendfsync always",
        "no-appendfsync-on-rewrite no",
        "maxmemory-policy noeviction",
    } <= set(lines)
    assert not {"appendfsync", "maxmemory-policy"} & set(re.findall(r"--(\S+)", parts("redis")["command"]))


def test_the_image_is_not_root_and_runs_the_command_itself() -> None:
    text = (ROOT / "ops/Dockerfile").read_text(encoding="utf-8")
    final = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER \d+:\d+$", final, re.MULTILINE)
    assert final.index("\nUSER ") < final.index("\nENTRYPOINT ")
    assert 'ENTRYPOINT ["blendq"]' in final
    assert "PYTHONUNBUFFERED=1" in final
    assert "pip" not in final
    assert "--require-hashes" in text
    assert not re.search(r"(?i)(secret|password|api_key)", text)


def test_the_image_is_made_of_chosen_files_only() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert all((ROOT / rule[1:]).is_dir() or "." in rule or rule == "!LICENSE" for rule in rules if rule[0] == "!")
    assert not any(".env" in rule or ".git" in rule for rule in rules)


# constraints.txt ---------------------------------------------------------------------------------------------------

PINS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _pinned() -> set[str]:
    return {_name(line) for line in PINS.splitlines() if re.match(r"\w[\w.-]*==\S+ ", line)}


def test_every_dependency_is_pinned() -> None:
    project = PROJECT["project"]
    extras = [one for group in project["optional-dependencies"].values() for one in group]
    wanted = {_name(one) for one in [*PROJECT["build-system"]["requires"], *project["dependencies"], *extras]}
    assert wanted <= _pinned()


def test_every_pin_has_a_hash() -> None:
    entries = re.split(r"^(?=\w)", PINS, flags=re.MULTILINE)[1:]
    assert len(entries) == len(_pinned())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_the_pins_name_no_host() -> None:
    assert "://" not in PINS
    assert not re.search(r"--(?:extra-)?index-url|--find-links|--trusted-host|(?<![\w-])-[if] ", PINS)
    assert not re.search(r"\b[a-z0-9-]+\.(?:org|com|net|io|dev|local)\b", PINS)


# With the real tool ------------------------------------------------------------------------------------------------


def _compose(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`docker-compose config` with these variables alone."""
    nothing = folder / "env"
    nothing.touch()
    command = [*_command(), "-f", str(ROOT / "docker-compose.yml"), "--env-file", str(nothing), "config"]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)} | variables
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def _command() -> list[str]:
    for command in (["docker-compose"], ["docker", "compose"]):
        if (
            shutil.which(command[0])
            and not subprocess.run([*command, "version"], check=False, capture_output=True).returncode
        ):
            return command
    pytest.skip("no docker-compose here")


def test_docker_compose_takes_the_file_and_refuses_it_without_a_secret(tmp_path: Path) -> None:
    """One secret stands for all: that each is asked for in the same words is read above, and here that each is used."""
    given = {name: f"the-{name}" for name in (*REQUIRED, *THE_ONE_API)}
    taken = _compose(tmp_path, **given)
    assert taken.returncode == 0, taken.stderr
    assert {name for name, value in given.items() if not re.search(rf"\b{value}\b", taken.stdout)} == set()
    assert {f"redis://{user}:the-REDIS_{user.upper()}_PASSWORD@redis:6379/0" for user in REDIS_USERS.values()} - {
        "redis://producer:the-REDIS_PRODUCER_PASSWORD@redis:6379/0"
    } <= set(re.findall(r"redis://\S+", taken.stdout))
    refused = _compose(tmp_path, **{**given, REQUIRED[-1]: ""})
    assert refused.returncode != 0
    assert f"set {REQUIRED[-1]} to " in refused.stderr
