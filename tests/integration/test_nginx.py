"""ops/nginx.conf with a real nginx before a real receiver."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from jobs.job import Status
from jobs.keys import Keys
from jobs.settings import Settings
from tests.integration.attacking import code, head, seconds_until_cut
from tests.integration.listening import Listening, everything, listening, task
from tests.integration.workbench import wait_for
from tests.ports import free_port

SITE = Path(__file__).parents[2] / "ops/nginx.conf"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"

pytestmark = pytest.mark.skipif(not Path(NGINX).exists(), reason="no nginx here")


@dataclass
class Front:
    """nginx, and the receiver behind it."""

    receiver: Listening
    http: httpx.Client
    port: int
    folder: Path

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(source, 0))

    def ask(self, message: bytes, source: str = "127.0.0.1") -> int:
        with self.connect(source) as connection:
            connection.sendall(message)
            return code(connection.recv(65536))


@pytest.fixture
def front(redis_url: str, keys: Keys, tmp_path: Path) -> Iterator[Front]:
    settings = Settings(
        data_dir=tmp_path,
        redis_url=redis_url,
        receiver_port=0,
        receiver_trusted_proxies="127.0.0.1",
        receiver_forged_per_second=1,
    )
    with listening(settings, keys) as receiver:
        receiver.add()
        port = free_port()
        config = tmp_path / "nginx.conf"
        config.write_text(_around(_site(port, receiver.port, tmp_path), tmp_path))
        process = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(config)], stderr=subprocess.PIPE, text=True)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            try:
                wait_for(lambda: _open(port) or process.poll() is not None, lambda: "nginx does not listen")
                assert process.poll() is None, process.communicate()[1]
                yield Front(receiver, http, port, tmp_path)
            finally:
                process.terminate()
                process.communicate(timeout=20)


def _site(port: int, receiver_port: int, folder: Path) -> str:
    """The example, with what is marked as yours in place, without TLS, and with less patience."""
    text = SITE.read_text(encoding="utf-8")
    text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.MULTILINE).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    text = text.replace("127.0.0.1:8791", f"127.0.0.1:{receiver_port}").replace("/var/log/nginx", str(folder))
    return text.replace("_timeout 10s;", "_timeout 1s;")


def _around(site: str, folder: Path) -> str:
    """What a distribution's nginx.conf does around a site."""
    paths = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.getuid() == 0 else ""
    start = f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/main.log info;\nevents {{}}\n"
    return f"{start}http {{\n    access_log {folder}/access.log;\n{paths}{site}\n}}\n"


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_callback_comes_through_and_its_address_stands_in_no_log(front: Front) -> None:
    path = front.receiver.path()
    assert front.http.post(path, json=task()).status_code == 200
    assert front.receiver.store.get("job_1").status is Status.RUNNING
    assert front.http.post(path + "x", json=task()).status_code == 404
    assert front.http.post(path, content=b"x" * 300_000).status_code == 413
    mac = path.rpartition("/")[2]
    assert not [log for log in front.folder.glob("*.log") if mac in log.read_text()]


def test_nothing_else_comes_through(front: Front) -> None:
    path = front.receiver.path()
    asked = [(method, path) for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")]
    asked += [(method, page) for method in ("GET", "POST") for page in ("/", "/livez", "/hooks", "/hooks/../livez")]
    for method, page in asked:
        with front.connect() as connection:
            connection.sendall(head(page, method=method, length=0))
            assert everything(connection) == b"", (method, page)


def test_a_slow_head_is_cut_off(front: Front) -> None:
    with front.connect() as slow:
        slow.sendall(b"POST /hooks/x HTTP/1.1\r\nHost: x\r\n")
        assert seconds_until_cut(slow) < 8


def test_a_slow_body_is_cut_off_before_the_receiver_hears_of_it(front: Front) -> None:
    with front.connect() as slow:
        slow.sendall(head(front.receiver.path()) + b"{")
        began = time.monotonic()
        everything(slow)
        assert time.monotonic() - began < 8
    assert front.receiver.store.get("job_1").status is Status.COMMITTED


def test_each_caller_is_counted_for_itself(front: Front) -> None:
    codes = [front.ask(head(f"/hooks/{n}", "X-Forwarded-For: 10.0.0.9", length=0), "127.0.0.2") for n in range(30)]
    assert (codes[0], codes[-1]) == (404, 429)
    assert front.ask(head("/hooks/x", length=0), "127.0.0.3") == 404
    body = json.dumps(task()).encode()
    assert front.ask(head(front.receiver.path(), length=len(body)) + body, "127.0.0.2") == 200
