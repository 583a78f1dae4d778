"""Downloads of finished pictures, from servers that misbehave, and from places where nothing may be fetched."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from jobs.errors import PictureError, RowProblem
from jobs.net import download as room
from jobs.net import outbound
from jobs.net.addresses import AddressRules
from jobs.net.download import DownloadError, Downloads, LinkExpiredError
from jobs.net.line import Waits
from jobs.pictures.decoding import Decoder
from jobs.pictures.images import ImageStore
from jobs.request import BlendRequest
from jobs.settings import Settings
from producer.manifests.manifest import Row
from producer.pictures import Pictures

HERE = AddressRules.of("127.0.0.0/8")


def png(side: int = 16) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (9, 9, 9)).save(out, "PNG")
    return out.getvalue()


class _Pictures(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[str]] = []
    headers_seen: ClassVar[list[dict[str, str]]] = []
    elsewhere: ClassVar[str] = ""

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
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
            case ["drip", *_]:
                self._drip()
            case ["cookie"]:
                self._answer(302, b"", location="/good")
            case _:
                self._answer(302, b"", location=self.elsewhere)

    def _drip(self) -> None:
        self.close_connection = True
        end = b"Content-Length: 9000\r\n\r\n" if self.path == "/drip/body" else b"X-Long: "
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + end)
        try:
            while True:
                self.wfile.write(b"H")
                time.sleep(0.02)
        except OSError:
            pass

    def _answer(self, code: int, body: bytes, *, length: int | None = None, location: str | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if location:
            self.send_header("Location", location)
            self.send_header("Set-Cookie", "session=1; Path=/")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name of the base class)
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Those who leave early are what some tests are about."""


@pytest.fixture
def server() -> Iterator[str]:
    _Pictures.seen.clear()
    _Pictures.headers_seen.clear()
    _Pictures.elsewhere = "file:///etc/passwd"
    with _Server(("127.0.0.1", 0), _Pictures) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.fixture
def downloads() -> Iterator[Downloads]:
    downloads = Downloads(connect_timeout_seconds=2, rules=HERE)
    yield downloads
    downloads.close()


Make = Callable[..., Downloads]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Downloads] = []

    def run(rules: AddressRules | None = HERE, **options: Any) -> Downloads:
        made.append(Downloads(2, rules, **options))
        return made[-1]

    yield run
    for one in made:
        one.close()


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


# --- places where nothing may be fetched ---------------------------------------------------------------------------

Lookups = list[str]


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lookups]:
    """Makes names lead to addresses: at each lookup to the next of them, and at last to none."""

    def run(*answers: list[str]) -> Lookups:
        asked: Lookups = []

        def lookup(host: str, port: int, *_: object, **__: object) -> list[Any]:
            asked.append(host)
            if len(asked) > len(answers):
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, (address, port)) for address in answers[len(asked) - 1]]

        real = socket.getaddrinfo

        def unless_an_address(host: str, port: int, *more: Any, **options: Any) -> list[Any]:
            answer = lookup if host.endswith(".example") else real
            return answer(host, port, *more, **options)

        monkeypatch.setattr(socket, "getaddrinfo", unless_an_address)
        return asked

    return run


def files_in(images: ImageStore) -> list[Path]:
    return [found for found in images.root.rglob("*") if found.is_file()]


def test_this_machine_is_not_asked_unless_it_is_allowed(server: str, make: Make, images: ImageStore) -> None:
    with pytest.raises(DownloadError, match=r"is not fetched: the link leads to 127\.0\.0\.1.*BLENDQ_ALLOWED_NETWORKS"):
        make(None).fetch(f"{server}/good", images, nothing)
    assert _Pictures.seen == []


@pytest.mark.parametrize(
    "link",
    [
        *("http://localhost:{port}/good", "http://127.0.0.1.:{port}/good", "http://[::ffff:127.0.0.1]:{port}/good"),
        *(
            "http://2130706433:{port}/good",
            "http://0:{port}/good",
            "http://[::1]:{port}/good",
            "http://0.0.0.0:{port}/",
        ),
        *("http://good.example@127.0.0.1:{port}/", "http://①②⑦.0.0.1:{port}/good", "http://[::ffff:0:0]:{port}/"),
    ],
)
def test_no_other_spelling_helps(server: str, make: Make, images: ImageStore, link: str) -> None:
    with pytest.raises(DownloadError, match="is not fetched"):
        make(None).fetch(link.format(port=server.rpartition(":")[2]), images, nothing)
    assert _Pictures.seen == []


def test_the_apis_own_links_are_followed_and_its_redirects_only_to_itself(
    server: str, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Downloads.from_settings(Settings.load({}, api_url=f"{server}/mj-fast"))
    assert api.fetch(f"{server}/hop/1", images, nothing).width == 16
    with socket.create_server(("127.0.0.1", 0)) as neighbour:
        neighbour.settimeout(0.2)
        port = neighbour.getsockname()[1]
        for target in (f"http://127.0.0.1:{port}/", "http://169.254.169.254/latest/meta-data/", "//10.0.0.1/x"):
            monkeypatch.setattr(_Pictures, "elsewhere", target)
            with pytest.raises(DownloadError, match="not on the public internet"):
                api.fetch(f"{server}/x", images, nothing)
        with pytest.raises(TimeoutError):
            neighbour.accept()
    api.close()


@pytest.mark.parametrize("location", ["http://[::1", "http://h:0/", "https://user:pass@h.example/", "http://1.2/"])
def test_a_redirect_to_nowhere(
    server: str, downloads: Downloads, images: ImageStore, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Pictures, "elsewhere", location)
    with pytest.raises(DownloadError, match="is not fetched"):
        downloads.fetch(f"{server}/x", images, nothing)


def test_the_checked_address_itself_is_connected_to(
    server: str, make: Make, images: ImageStore, lead: Callable[..., Lookups]
) -> None:
    """A name that leads elsewhere at the second lookup (DNS rebinding) has no second lookup."""
    port = int(server.rpartition(":")[2])
    asked = lead(["127.0.0.1"])
    stored = make(AddressRules.of("127.0.0.1/32")).fetch(f"http://Pictures.Example.:{port}/good", images, nothing)
    assert stored.width == 16
    assert asked == ["pictures.example"]
    assert _Pictures.headers_seen[0]["host"] == f"pictures.example:{port}", "the name is what the server is told"


def test_every_redirect_is_looked_up_and_checked(
    server: str, make: Make, images: ImageStore, lead: Callable[..., Lookups]
) -> None:
    port = server.rpartition(":")[2]
    asked = lead(["127.0.0.1"], ["127.0.0.2"])
    with pytest.raises(DownloadError, match=r"leads to pictures\.example \(127\.0\.0\.2\)"):
        make(AddressRules.of("127.0.0.1/32")).fetch(f"http://pictures.example:{port}/hop/0", images, nothing)
    assert asked == ["pictures.example"] * 2
    assert len(_Pictures.seen) == 1


def test_one_bad_address_among_good_ones(make: Make, images: ImageStore, lead: Callable[..., Lookups]) -> None:
    lead(["1.1.1.1", "10.0.0.1"])
    with pytest.raises(DownloadError, match=r"10\.0\.0\.1"):
        make().fetch("http://pictures.example/", images, nothing)


def test_the_next_address_when_one_does_not_answer(
    server: str, downloads: Downloads, images: ImageStore, lead: Callable[..., Lookups]
) -> None:
    lead(["127.0.0.77", "127.0.0.1", "127.0.0.78"])
    assert downloads.fetch(f"http://pictures.example:{server.rpartition(':')[2]}/good", images, nothing).width == 16


def test_a_name_that_does_not_exist(downloads: Downloads, images: ImageStore, lead: Callable[..., Lookups]) -> None:
    lead()
    with pytest.raises(DownloadError, match="did not come: ConnectError"):
        downloads.fetch("http://pictures.example/", images, nothing)


def test_tls_is_asked_for_the_name(downloads: Downloads, images: ImageStore, lead: Callable[..., Lookups]) -> None:
    lead(["127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hello = bytearray()

        def take() -> None:
            connection, _ = listener.accept()
            with connection:
                hello.extend(connection.recv(4096))

        thread = threading.Thread(target=take)
        thread.start()
        with pytest.raises(DownloadError, match="did not come"):
            downloads.fetch(f"https://pictures.example:{listener.getsockname()[1]}/", images, nothing)
        thread.join()
    assert b"pictures.example" in hello
    context = downloads._outbound._tls
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_nothing_is_said_but_what_must_be(
    server: str, downloads: Downloads, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, no cookie, no proxy of the environment's."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert downloads.fetch(f"{server}/cookie", images, nothing).width == 16
    for headers in _Pictures.headers_seen:
        assert set(headers) == {"host", "user-agent", "accept", "accept-encoding"}
        assert headers["user-agent"] == "blendq"
    assert len(_Pictures.headers_seen) == 2


# --- senders that take their time ----------------------------------------------------------------------------------


def test_a_drip_is_ended_long_before_the_deadline(
    server: str, downloads: Downloads, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "RATE_AFTER_SECONDS", 0.3)
    began = time.monotonic()
    for path in ("/drip/body", "/drip/head"):
        with pytest.raises(DownloadError, match=r"comes too slowly: \d+ bytes in"):
            downloads.fetch(server + path, images, nothing)
    assert time.monotonic() - began < 10
    assert files_in(images) == []


@pytest.mark.parametrize("path", ["/drip/body", "/drip/head"])
def test_the_deadline_is_for_the_whole(
    server: str, downloads: Downloads, images: ImageStore, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "DEADLINE_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(DownloadError, match="did not come whole"):
        downloads.fetch(server + path, images, nothing)
    assert time.monotonic() - began < 5


def test_one_that_says_nothing(downloads: Downloads, images: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads._outbound, "waits", Waits(connect=0.2, read=0.2, write=0.2))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for scheme in ("http", "https"):
            with pytest.raises(DownloadError, match=r"did not come: (Read|Connect)Timeout"):
                downloads.fetch(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/", images, nothing)


def test_silence_lasts_no_longer_than_the_whole(
    downloads: Downloads, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "DEADLINE_SECONDS", 0.3)
    began = time.monotonic()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(DownloadError, match="did not come whole"),
    ):
        downloads.fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/", images, nothing)
    assert time.monotonic() - began < outbound.READ_TIMEOUT_SECONDS / 2


class Leaving(Exception):
    pass


@pytest.mark.parametrize("turn", [1, 2, 3, 4, 5])
def test_whoever_is_to_leave_may_leave_at_every_wait(
    server: str, downloads: Downloads, images: ImageStore, turn: int
) -> None:
    turns = 0

    def progress() -> None:
        nonlocal turns
        turns += 1
        if turns == turn:
            raise Leaving

    with pytest.raises(Leaving):
        downloads.fetch(f"{server}/good", images, progress)
    assert files_in(images) == []


# --- pictures that fight back --------------------------------------------------------------------------------------


def test_pictures_are_decoded_by_the_decoder_and_by_nothing_else(
    server: str, make: Make, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.pictures.images.check_picture", lambda *_: pytest.fail("decoded here"))
    monkeypatch.setattr(images, "_check", lambda *_: pytest.fail("decoded here"))
    assert make().fetch(f"{server}/good", images, nothing).width == 16


def test_what_breaks_the_decoder_is_not_the_picture(server: str, make: Make, images: ImageStore) -> None:
    class Broken(Decoder):
        def check(self, *_: object, **__: object) -> Any:
            raise PictureError("the picture: breaks the decoder; save it anew")

    with pytest.raises(DownloadError, match="what came is not the picture: the picture: breaks the decoder"):
        make(decoder=Broken()).fetch(f"{server}/good", images, nothing)
    assert files_in(images) == []


# --- pictures that a manifest names ---------------------------------------------------------------------------------


def test_a_manifests_links_are_fetched_once_and_told_without_their_keys(
    server: str, downloads: Downloads, images: ImageStore
) -> None:
    pictures = Pictures(images, downloads)
    good, gone = f"{server}/good", f"{server}/status/404?token=SECRET"
    first, second, third = pictures.prepare(
        Row(line, BlendRequest(images=pair)) for line, pair in enumerate([(good, good), (good, gone), (gone, good)], 1)
    )
    assert isinstance(first, Row)
    assert all(images.find(digest) for digest in first.request.images)
    assert second == RowProblem(2, f"{server}/status/404?token=***: the picture's link answers HTTP 404")
    assert isinstance(third, RowProblem)
    assert _Pictures.seen.count("/good") == 1
    assert len(_Pictures.seen) == 2


@pytest.mark.parametrize("path", ["/text", "/big", "/bomb", "/cut", "/elsewhere"])
def test_a_manifests_link_to_no_good_picture_is_a_bad_row(
    server: str, downloads: Downloads, images: ImageStore, path: str
) -> None:
    (row,) = Pictures(images, downloads).prepare([Row(7, BlendRequest(images=(f"{server}{path}", f"{server}/good")))])
    assert isinstance(row, RowProblem)
    assert str(row).startswith(f"line 7: {server}{path}: ")
