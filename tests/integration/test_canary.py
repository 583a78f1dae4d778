"""I8: no secret and no picture data in any log, error, page, message or record.

Whole runs with canaries: strings that stand for the secrets, and must be found nowhere afterwards in any spelling.
The simulated API is told some of them, so its own folder is left out; so are the manifest and the stored pictures.
"""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jobs.queue import make_app
from jobs.settings import Settings
from tests.acceptance.runs import Runs, wait_for
from tests.integration.sandboxes import Sandbox
from tests.ports import free_port

# Each starts the whole stack, some of them twice.
pytestmark = pytest.mark.timeout(400)

API_KEY = "sk-CanaryApiKey-4Tq9/Zw+7Lm2"
HOOK_SECRET = "CanaryHookSecret/81+Xyq"
REDIS_PASSWORD = "CanaryRedisPassword5Hk"
PICTURE = "CanaryPictureBytes-6Rv3pWn"
SECRETS = (API_KEY, HOOK_SECRET, REDIS_PASSWORD, PICTURE)
# The proof in a hook's address, and in the state that carries the same.
HOOK = re.compile(rb"job_[A-Za-z0-9]+(?:/|%2[Ff])[0-9]+(?:/|%2[Ff])[A-Za-z0-9_-]{16,}")
QUICK = {
    "BLENDQ_API_KEY": API_KEY,
    "BLENDQ_HOOK_SECRET": HOOK_SECRET,
    "BLENDQ_POLL_MIN_SECONDS": "0.1",
    "BLENDQ_POLL_MAX_SECONDS": "0.3",
    "BLENDQ_SILENCE_SECONDS": "0.2",
    "BLENDQ_BACKOFF_BASE_SECONDS": "0.1",
    "BLENDQ_BACKOFF_CAP_SECONDS": "0.5",
    "BLENDQ_UNSURE_LIMIT_SECONDS": "1",
    "BLENDQ_COLLECT_LIMIT_SECONDS": "2",
}


def spellings(secret: str) -> set[bytes]:
    """A secret as it is, as base64 (wherever in the text it begins), URL-encoded, as hex, and as JSON escapes it."""
    plain = secret.encode()
    found = {plain, quote(secret, safe="").encode(), plain.hex().encode(), json.dumps(secret)[1:-1].encode()}
    for shift in range(3):
        coded = base64.b64encode(b"x" * shift + plain)
        inner = coded[4 if shift else 0 : len(coded) // 4 * 4 - 4]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def leaks(content: bytes) -> list[str]:
    """What of the secrets stands in there, each with the words before it."""
    places = ((secret, content.find(spelled)) for secret in SECRETS for spelled in spellings(secret))
    return [f"{secret[:18]}: …{content[max(0, at - 150) : at + 40]!r}" for secret, at in places if at >= 0]


def test_the_search_finds_what_is_there() -> None:
    for secret in SECRETS:
        for shift in range(3):
            assert leaks(b"{" + base64.b64encode(b"-" * shift + secret.encode() + b"??") + b"}")
            assert leaks(base64.urlsafe_b64encode(b"-" * shift + secret.encode() + b"??"))
        assert leaks(quote("x " + secret).encode() + quote(secret, safe="").encode())
        assert leaks(b"\0" + secret.encode())
    assert leaks(data_url(1).encode())
    assert not leaks(b"nothing of the kind")
    assert HOOK.search(b"http://h/hooks/job_4tj/1/AbCdEfGhIjKlMnOpQrSt")


def data_url(shade: int) -> str:
    """A picture whose bytes hold the canary."""
    words = PngInfo()
    words.add_text("Comment", PICTURE)
    out = io.BytesIO()
    Image.new("RGB", (24, 24), (shade * 16, 90, 170)).save(out, "PNG", pnginfo=words)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


BETWEEN = "\x1e"
COMMANDS = f"""
import json, sys
from ops.cli import main
for words in json.loads(sys.argv[1]):
    print({BETWEEN!r}, end="", flush=True)
    if code := main(words):
        sys.exit(code)
"""


@dataclass
class Place:
    """A folder of one test: the manifest, what is made from it, and everything that was ever printed."""

    folder: Path
    environment: Mapping[str, str]
    flags: tuple[str, ...] = ()
    rows: tuple[str, ...] = tuple(f"row-{number}" for number in range(3))
    runs: Runs = field(init=False)

    def __post_init__(self) -> None:
        manifest = self.folder / "manifest.jsonl"
        lines = [
            json.dumps({"images": [data_url(number), data_url(number + 1)], "custom_id": name, "state": name})
            for number, name in enumerate(self.rows)
        ]
        manifest.write_text("\n".join(lines))
        self.runs = Runs(self.folder, manifest, *self.flags, environment={**QUICK, **self.environment})
        self.said = self.folder / "said"
        self.said.mkdir()

    def run(self, code: int = 0, **environment: str) -> dict[str, Any]:
        """`blendq run`; while it lasts, the command lines of all its processes are noted too."""
        with subprocess.Popen(
            self.runs.command(), env=self.runs.environment | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            listed = b""
            give_up_at = time.monotonic() + 120
            while time.monotonic() < give_up_at:
                listed = max(listed, self._command_lines(), key=len)
                with suppress(subprocess.TimeoutExpired):
                    out, err = process.communicate(timeout=0.3)
                    break
            else:
                process.kill()
                out, err = process.communicate()
        self._keep("run", out + err + listed)
        assert process.returncode == code, f"exit {process.returncode}: {err.decode()}\n{self.runs.logs()}"
        told: dict[str, Any] = json.loads(out)
        return told

    def _command_lines(self) -> bytes:
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, check=True).stdout
        return b"\n".join(line for line in listed.splitlines() if str(self.runs.data_dir).encode() in line)

    def commands(self, *lines: Sequence[str]) -> list[str]:
        """Other `blendq` commands on the same data, one after another in one process; what each printed."""
        command = [sys.executable, "-c", COMMANDS, json.dumps(lines)]
        done = subprocess.run(command, env=self.runs.environment, capture_output=True, timeout=120, check=False)
        self._keep("commands", done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().split(BETWEEN)[1:]

    def _keep(self, name: str, content: bytes) -> None:
        (self.said / f"{len(list(self.said.iterdir()))}-{name}").write_bytes(content)

    def look_at_everything(self) -> list[dict[str, Any]]:
        """Let every command say all it knows; returns each job as `job show --json` does."""
        where = ["--data-dir", str(self.runs.data_dir), *(flag for flag in self.flags if flag.startswith("--sandbox"))]
        results = self.runs.results()
        ids = [str(result["id"]) for result in results]
        others = [["campaign", "show", results[0]["campaign"]], ["campaign", "list"], ["campaign", "list", "--json"]]
        said = self.commands(
            *(["job", "show", name, "--json", *where] for name in ids),
            *(["job", "show", name, *where] for name in ids),
            *([*words, *where] for words in others),
            ["settings"],
            ["settings", "--json"],
        )
        return [json.loads(text) for text in said[: len(ids)]]

    def files(self) -> list[Path]:
        """All that is left: results, pages, logs, Redis's own files (records, messages), what was printed."""
        theirs = {"images", "sandbox", "api"}
        everything = (path for path in self.folder.rglob("*") if path.is_file())
        return [
            path
            for path in everything
            if not theirs & set(path.relative_to(self.folder).parts[:-1]) and path.name != "manifest.jsonl"
        ]

    def check(self, *expected: str) -> None:
        """No canary anywhere, and no proof of a hook where people look."""
        names = {path.name for path in self.files()}
        assert {"results.jsonl", "errors.jsonl", "gallery.html", "worker.log", "beat.log", *expected} <= names
        assert any("aof" in name for name in names), names
        found = []
        for path in self.files():
            content = path.read_bytes()
            found += [f"{path.relative_to(self.folder)}: {leak}" for leak in leaks(content)]
            if match := HOOK.search(content):
                found.append(f"{path.relative_to(self.folder)}: the proof of a hook: {match[0]!r}")
        assert not found, "\n".join(found)


# --- with the sandbox ----------------------------------------------------------------------------------------------


def test_a_sandbox_run_leaves_no_trace_of_a_secret(tmp_path: Path) -> None:
    place = Place(tmp_path, {}, ("--sandbox", "--speed", "60"))
    assert place.run()["succeeded"] == 3
    place.look_at_everything()
    place.check("receiver.log", "redis.log")


def test_a_manifest_that_is_refused_is_not_repeated(tmp_path: Path) -> None:
    place = Place(tmp_path, {}, ("--sandbox",))
    broken = data_url(1)[:-9] + "!" + data_url(1)[-9:]
    lines: list[dict[str, Any]] = [{"images": [data_url(1), broken]}, {"images": [data_url(1)[:120], data_url(2)]}]
    lines += [{"images": [data_url(1)]}, {"images": data_url(1)}, {"image": data_url(1)}, {data_url(1): 1}]
    no_json = [data_url(1), '{"images": ["' + data_url(1)]
    place.runs.manifest.write_text("\n".join([*map(json.dumps, lines), *no_json]))
    command = place.runs.command()
    done = subprocess.run(command, env=place.runs.environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 4
    assert done.stderr.count(b"\n  line ") == len(lines) + len(no_json)
    assert leaks(done.stdout + done.stderr) == []


# --- with an API of one's own: a key, a Redis with a password, callbacks -----------------------------------------


@contextmanager
def redis_with_password(binary: Path, folder: Path) -> Iterator[str]:
    """A server on a port; yields its URL, password included."""
    folder.mkdir()
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--requirepass", REDIS_PASSWORD]
    command = [str(binary), *options, "--appendonly", "yes", "--save", "", "--loglevel", "verbose"]
    with (folder / "server.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        url = f"redis://:{REDIS_PASSWORD}@127.0.0.1:{port}/0"
        try:
            wait_for(partial(_answers, url), (folder / "server.log").read_text)
            yield url
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@contextmanager
def listening(url: str, file: Path) -> Iterator[None]:
    """Keeps every message that is published meanwhile; Celery's events too, asked for as flower does."""
    over = threading.Event()

    def listen() -> None:
        app = make_app(Settings.load({}, redis_url=url))
        with app, redis.Redis.from_url(url) as client, client.pubsub() as heard, file.open("wb") as out:
            heard.psubscribe("*")
            while not over.is_set():
                if message := heard.get_message(timeout=0.2):
                    out.write(repr(message).encode() + b"\n")
                else:
                    app.control.enable_events()

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_key_a_password_and_callbacks_leave_no_trace(server_binary: Path, tmp_path: Path) -> None:
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    (tmp_path / "api").mkdir()
    flags = ("--speed", "60", "--task-seconds", "10", "20", "--api-key", API_KEY)
    with (
        redis_with_password(server_binary, tmp_path / "redis") as url,
        Sandbox(tmp_path / "api", *flags) as api,
        listening(url, tmp_path / "published"),
    ):
        settings = {"BLENDQ_API_URL": api.url, "BLENDQ_REDIS_URL": url}
        place = Place(tmp_path, settings | {"BLENDQ_PUBLIC_URL": here, "BLENDQ_RECEIVER_PORT": str(port)})
        wrong = API_KEY[:-2] + "xx"
        assert place.run(code=5, BLENDQ_API_KEY=wrong)["succeeded"] == 0
        place.commands(["resume"])
        assert place.run()["succeeded"] == 3
        place.look_at_everything()
        place._keep("flower", flower(place.runs.environment))
        everything = dump(url)
    place._keep("redis", everything)
    assert b"celeryev/task" in (tmp_path / "published").read_bytes()
    place.check("receiver.log", "published")


def dump(url: str) -> bytes:
    """Every key with its value: records, messages that are under way, Celery's own."""
    with redis.Redis.from_url(url) as client:
        return b"\n".join(repr((key, _value(client, key))).encode() for key in client.scan_iter("*"))


def _value(client: redis.Redis, key: bytes) -> object:
    match client.type(key):
        case b"hash":
            return client.hgetall(key)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"set":
            return client.smembers(key)
        case b"zset":
            return client.zrange(key, 0, -1)
        case b"stream":
            return client.xrange(key)
        case _:
            return client.get(key)


def flower(environment: Mapping[str, str]) -> bytes:
    """What flower's pages say."""
    import httpx  # noqa: PLC0415

    port = free_port()
    command = [sys.executable, "-m", "celery", "-A", "ops.flower", "flower", "--address=127.0.0.1", f"--port={port}"]
    with (
        subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http,
    ):
        said = b""
        try:
            wait_for(lambda: _listens(port), lambda: "flower does not start")
            for page in ("/", "/workers", "/tasks", "/broker", "/metrics"):
                said += http.get(page, follow_redirects=True).content
        finally:
            process.terminate()
            said += process.communicate(timeout=30)[0]
    assert b"Flower" in said
    return said


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- with an API that repeats all it is told ---------------------------------------------------------------------


class Parrot(BaseHTTPRequestHandler):
    """Repeats the key, the hook and the pictures in every way an answer can; the row's state says in which."""

    protocol_version = "HTTP/1.1"
    said: dict[str, tuple[str, str]] = {}  # noqa: RUF012  (of one test)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/submit/blend"):
            self._submitted(json.loads(body))
        elif self.path.endswith("/list-by-condition"):
            self._answer(200, [self._task(name) for name in json.loads(body)["ids"] if name in self.said])
        else:
            self._answer(404, {})

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        if parts[:2] == ["mj", "task"] and parts[-1] == "fetch":
            return self._answer(200, self._task(parts[2]))
        if parts[0] == "moved":
            return self._answer(302, b"", {"Location": f"http://127.0.0.1:9/?{API_KEY}"})
        return self._answer(int(parts[1]) if parts[0] == "status" else 200, page(API_KEY + data_url(1)))

    def _submitted(self, asked: dict[str, Any]) -> None:
        style = asked["state"].rpartition(" ")[2]
        name = f"task{len(self.said)}"
        key, pictures = self.headers["mj-api-secret"], asked["base64Array"]
        keys = f"{key} ({quote(key, safe='')}, {base64.b64encode(key.encode()).decode()})"
        text = f"Bad key {keys} of {asked['notifyHook']} and {asked['state']}: "
        if style == "bytes":
            pictures = [base64.b64decode(picture.partition(",")[2]).decode("latin-1") for picture in pictures]
        self.said[name] = style, text + "; ".join(pictures)
        said = self.said[name][1]
        match style.split("-"):
            case ["refuse", code]:
                self._answer(200, {"code": int(code), "description": said, "properties": {"bannedWord": said}})
            case ["html", status]:
                self._answer(int(status), page(said), {"Location": f"http://127.0.0.1:9/{API_KEY}/?{API_KEY}"})
            case ["text"]:
                self._answer(200, said.encode())
            case ["raw"]:
                self._answer(200, asked["base64Array"][0].encode())
            case ["nested"]:
                self._answer(400, {"error": {"message": said, "type": API_KEY}})
            case ["string"]:
                self._answer(500, json.dumps(said).encode())
            case ["queued"]:
                self._answer(
                    200, {"code": 22, "description": said, "result": name, "properties": {"numberOfQueues": 1}}
                )
            case ["header"]:
                self._answer(500, b"", {"Retry-After": API_KEY, "Set-Cookie": f"k={API_KEY}", "X-Key": API_KEY})
            case _:
                self._answer(200, {"code": 1, "description": said, "result": name})

    def _task(self, name: str) -> dict[str, Any]:
        style, said = self.said[name]
        task: dict[str, Any] = {
            "id": name,
            "status": "FAILURE",
            "failReason": said,
            "description": said,
            "prompt": said,
        }
        if style.startswith("link"):
            link = f"http://{self.headers['Host']}/{style.partition('-')[2]}"
            task |= {"status": "SUCCESS", "imageUrl": link, "failReason": None}
        return task | {"state": said, "properties": {"notifyHook": said}, "progress": said}

    def _answer(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name of the base class)
        pass


def page(words: str) -> bytes:
    return f"<html><head><title>{words}</title></head><body><h1>{words}</h1></body></html>".encode()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A worker that is stopped leaves early."""


@pytest.fixture
def parrot() -> Iterator[str]:
    Parrot.said.clear()
    with _Server(("127.0.0.1", 0), Parrot) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


STYLES = (
    *("refuse-4", "refuse-24", "refuse-5", "refuse-77", "html-200", "html-500", "html-413", "text", "raw", "nested"),
    *("string", "queued", "header", "failed", "bytes", "link-page", "link-status/403", "link-status/500", "link-moved"),
)


def test_an_api_that_repeats_all_it_is_told(parrot: str, tmp_path: Path) -> None:
    place = Place(tmp_path, {"BLENDQ_API_URL": parrot, "BLENDQ_PUBLIC_URL": "http://127.0.0.1:1"}, rows=STYLES)
    told = place.run(code=3, BLENDQ_SLOTS="20", BLENDQ_RECEIVER_PORT=str(free_port()))
    assert told["succeeded"] == 0
    shown = place.look_at_everything()
    assert len(shown) == len(STYLES)
    assert "Bad key [key] ([key]" in json.dumps(shown), "it did repeat it, and the rest of its words was kept"
    place.check()


@pytest.mark.parametrize("style", ["html-401", "html-302", "refuse-3"])
def test_an_api_that_repeats_a_key_that_it_refuses(parrot: str, tmp_path: Path, style: str) -> None:
    settings = {"BLENDQ_API_URL": parrot, "BLENDQ_PUBLIC_URL": "http://127.0.0.1:1"}
    place = Place(tmp_path, settings, rows=(style,))
    told = place.run(code=5, BLENDQ_RECEIVER_PORT=str(free_port()))
    assert told["outcome"] == "refused"
    place.look_at_everything()
    place.check()
