"""What the benchmarks judge by: the stand-in's ledger, its pictures, and the report's ratios."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from ops.bench.callers import Callers
from ops.bench.report import Line, Row
from ops.bench.upstream import TAIL_BYTES, Api, Contents, Exchange, content_of, png


class Wire:
    """A transport that keeps what was said."""

    def __init__(self) -> None:
        self.said = b""

    def write(self, data: bytes) -> None:
        self.said += data


def submit(api: Api, picture: str, hook: str, piece: int) -> bytes:
    """One submission, in pieces of so many bytes."""
    body = json.dumps({"base64Array": [picture, "b"], "notifyHook": hook, "state": "s"}).encode()
    message = b"POST /mj/submit/blend HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    wire: Any = Wire()
    exchange = Exchange(api)
    exchange.connection_made(wire)
    for start in range(0, len(message), piece):
        exchange.data_received(message[start : start + piece])
    return bytes(wire.said)


class Unheard(Callers):
    """Callbacks that go nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def call(self, url: str, body: bytes) -> None:
        assert json.loads(body)["state"] == "s"
        self.called.append(url)


def test_submissions_are_counted_by_their_pictures() -> None:
    callers = Unheard()
    api = Api("http://api", callers)
    large = "a" * 3 * TAIL_BYTES
    assert b'"code": 1' in submit(api, large, "http://one", 100_000)
    submit(api, large, "http://another", 1000)  # the same pictures, for another attempt, in other pieces
    submit(api, large.replace("a", "c", 1), "http://third", 1000)
    ledger = json.loads(api.ledger())
    assert (ledger["submissions"], ledger["contents"]) == (3, 2)
    assert callers.called == ["http://one", "http://another", "http://third"]


def test_blends_whose_checksum_is_the_same_are_told_apart_by_their_end() -> None:
    ends = [bytes([number]) * 100 for number in range(200)]
    assert len({content_of(7, end) for end in ends}) == 200


def test_a_ledger_in_a_file_goes_on_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    for content in (1, 2):
        Contents(file).add(content)
    with file.open("ab") as torn:
        torn.write(b"half")
    Contents(file).add(2)
    again = Contents(file)
    assert (again.submissions, len(again)) == (3, 2)
    again.clear()
    assert Contents(file).submissions == 0


def test_every_task_has_a_real_picture_of_its_own() -> None:
    one, other = png(b"/pictures/1.png"), png(b"/pictures/2.png")
    assert one != other
    with Image.open(io.BytesIO(one)) as picture:
        picture.load()
        assert picture.format == "PNG"


def test_ratios_are_ours_divided_by_theirs() -> None:
    lines = [Line("blendq", {"jobs/s": 30.0, "beat ms": 1.0}), Line("peer", {"jobs/s": 60.0})]
    assert Row("row", "", lines).ratios() == {"peer": {"jobs/s": 0.5}}
    assert Row("row", "", lines, compared=False).ratios() == {}
    assert "| peer | 60 (0.5) |  |" in Row("row", "", lines).to_text()
