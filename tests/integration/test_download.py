"""Downloads of finished pictures, from servers that misbehave."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image

from jobs.images import ImageStore
from worker import download as room
from worker.download import DownloadError, Downloads, LinkExpiredError


def png(side: int = 16) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (9, 9, 9)).save(out, "PNG")
    return out.getvalue()


class _Pictures(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        match self.path.partition("?")[0].strip("/").split("/"):
            case ["good"]:
                self._answer(200, png())
            case ["cut"]:
                self._answer(200, png()[:-30], length=len(png()))
            case ["text"]:
                self._answer(200, b"<html>not a picture</html>")
            case ["big"]:
                self._answer(200, png() + b"\0" * 5000)
            case ["bomb"]:
                self._answer(200, png(3000))
            case ["status", code]:
                self._answer(int(code), b"no")
            case ["hop", count]:
                target = "/good?kept=1" if count == "0" else f"/hop/{int(count) - 1}"
                self._answer(302, b"", location=target)
            case _:
                self._answer(302, b"", location="file:///etc/passwd")

    def _answer(self, code: int, body: bytes, *, length: int | None = None, location: str | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if location:
            self.send_header("Location", location)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name of the base class)
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Pictures.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pictures) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.fixture
def downloads() -> Iterator[Downloads]:
    downloads = Downloads(connect_timeout_seconds=2)
    yield downloads
    downloads.close()


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images", max_bytes=4000, max_pixels=1_000_000)


def nothing() -> None:
    pass


def test_a_picture_is_kept_by_its_content(server: str, downloads: Downloads, images: ImageStore) -> None:
    stored = downloads.fetch(f"{server}/good?ex=1&hm=2", images, nothing)
    assert stored.path.read_bytes() == png()
    assert _Pictures.seen == ["/good?ex=1&hm=2"], "the query string is part of the link"


def test_a_few_redirects_are_followed(server: str, downloads: Downloads, images: ImageStore) -> None:
    assert downloads.fetch(f"{server}/hop/2", images, nothing).width == 16
    with pytest.raises(DownloadError, match="redirects more than 3 times"):
        downloads.fetch(f"{server}/hop/3", images, nothing)


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_an_expired_link_is_told_apart(server: str, downloads: Downloads, images: ImageStore, code: int) -> None:
    with pytest.raises(LinkExpiredError, match=str(code)):
        downloads.fetch(f"{server}/status/{code}", images, nothing)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/status/500", "HTTP 500"),
        ("/cut", "did not come"),
        ("/text", "not a picture"),
        ("/big", "over the limit"),
        ("/bomb", "over the limit"),
        ("/elsewhere", "neither http nor https"),
    ],
)
def test_whatever_is_no_whole_picture_is_refused(
    server: str, downloads: Downloads, images: ImageStore, path: str, why: str
) -> None:
    with pytest.raises(DownloadError, match=why):
        downloads.fetch(server + path, images, nothing)
    assert [found for found in images.root.rglob("*") if found.is_file()] == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "data:image/png;base64,AA", ""])
def test_only_web_addresses_are_asked(downloads: Downloads, images: ImageStore, url: str) -> None:
    with pytest.raises(DownloadError, match="neither http nor https"):
        downloads.fetch(url, images, nothing)


def test_nobody_there(downloads: Downloads, images: ImageStore) -> None:
    with pytest.raises(DownloadError, match="ConnectError"):
        downloads.fetch("http://127.0.0.1:9/x.png", images, nothing)


def test_a_download_that_takes_too_long_is_given_up(
    server: str, downloads: Downloads, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "DEADLINE_SECONDS", 0.0)
    with pytest.raises(DownloadError, match="did not come whole"):
        downloads.fetch(f"{server}/good", images, nothing)
