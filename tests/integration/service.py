"""The HTTP API as its own process, and how its tests speak to it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from jobs.settings import Settings
from tests.integration.workbench import wait_for

LEAVE_SECONDS = 30.0


@dataclass
class Service:
    """A running API."""

    http: httpx.Client
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def upload(self) -> str:
        """The digest of a picture that no other test has."""
        answer = self.http.put("/v1/images", content=noise(), headers={"Content-Type": "image/png"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["digest"])

    def job(self, **fields: Any) -> dict[str, Any]:
        return {"images": [self.upload(), self.upload()], **fields}

    def enqueue(self, **fields: Any) -> dict[str, Any]:
        answer = self.http.post("/v1/jobs", json=self.job(**fields))
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found


def noise(size: int = 16) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((size, size), 90).save(file, "PNG")
    return file.getvalue()


def flat(size: int) -> bytes:
    """Many pixels in few bytes."""
    file = io.BytesIO()
    Image.new("1", (size, size)).save(file, "PNG")
    return file.getvalue()


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that it must be."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"]) == (status, code)
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["detail"]
    assert found["retryable"] == ("retry-after" in answer.headers)
    return found


def start(settings: Settings, log: Path, announced: Path, **environment: str) -> subprocess.Popen[bytes]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("BLENDQ_")}
    env |= settings.to_environment() | {"BLENDQ_SERVICE_PORT": "0"} | environment
    command = [sys.executable, "-m", "ops.cli", "api", "--announce-file", str(announced)]
    with log.open("wb") as file:
        return subprocess.Popen(command, env=env, stdout=file, stderr=file)


@contextmanager
def serving(settings: Settings, folder: Path, **environment: str) -> Iterator[Service]:
    """Serves until the block ends; then it must leave in order."""
    log, announced = folder / "api.log", folder / "api.url"
    announced.unlink(missing_ok=True)
    process = start(settings, log, announced, **environment)
    try:
        wait_for(lambda: announced.exists() or process.poll() is not None, log.read_text)
        assert process.poll() is None, log.read_text()
        url = announced.read_text()
        with httpx.Client(base_url=url, timeout=60, headers=dict[str, str]()) as http:
            yield Service(http, url, process, log)
    finally:
        process.terminate()
        code = process.wait(LEAVE_SECONDS)
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}
