"""Decoding in a process of its own: whatever a picture does there, it is refused, and nothing else ends or waits."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs.errors import PictureError
from jobs.pictures import decoder_helper
from jobs.pictures.decoding import Decoder
from jobs.pictures.images import ImageStore
from jobs.pictures.picture_formats import Header, check_picture

ROOT = Path(__file__).parents[2]
# A helper whose decoder does what the file's text says: the worst that a fault in C code could make it do.
HOSTILE = [
    sys.executable,
    "-c",
    """
import os, signal, sys, time
from jobs.pictures import decoder_helper as helper
from jobs.pictures.picture_formats import Header

def header(file, max_pixels, name):
    return Header("image/png", 4, 4)

def decode(file, header, name):
    file.seek(0)
    exec(file.read().decode(), globals())

helper.read_small_header, helper.decode = header, decode
helper.BASE_CPU_SECONDS = 1
helper.wall_limit_seconds = lambda pixels: 1.5
helper.main()
""",
]
CRASH = "os.kill(os.getpid(), signal.SIGSEGV)"
LOOP = "while True: pass"
SLEEP = "time.sleep(1000)"
EAT = "x = [bytes(1 << 20) for _ in range(4096)]"


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, kind)
    return file.getvalue()


Opened = Callable[..., Decoder]


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder()
    yield made
    made.close()
    assert children() == []


@pytest.fixture
def hostile() -> Iterator[Decoder]:
    made = Decoder(helpers=1, command=HOSTILE)
    yield made
    made.close()
    assert children() == [], "no process and no zombie is left"


def children() -> list[str]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "ppid=,pid=,stat=,args=", "-ww"], capture_output=True, text=True, check=True
    )
    lines = [line.split(None, 3) for line in listed.stdout.splitlines()]
    return [" ".join(line) for line in lines if line[0] == str(os.getpid()) and not line[3].startswith("ps ")]


def check(decoder: Decoder, folder: Path, content: bytes | str, max_pixels: int = 10_000, **more: Any) -> Header:
    path = folder / f"{threading.get_ident()}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return decoder.check(path, max_pixels, "a.png", **more)


def refusal(decoder: Decoder, folder: Path, content: bytes | str, **more: Any) -> str:
    with pytest.raises(PictureError) as caught:
        check(decoder, folder, content, **more)
    assert str(caught.value).startswith("a.png: ")
    return str(caught.value).removeprefix("a.png: ")


# --- honest pictures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_same_answers_as_in_this_process(decoder: Decoder, tmp_path: Path, kind: str) -> None:
    data = picture(kind)
    path = tmp_path / "here"
    path.write_bytes(data)
    assert check(decoder, tmp_path, data) == check_picture(path, 10_000, "a.png")
    for bad, pixels in ((data[:40], 10_000), (b"<html>", 10_000), (b"", 10_000), (data, 47)):
        path.write_bytes(bad)
        with pytest.raises(PictureError) as here:
            check_picture(path, pixels, "a.png")
        assert refusal(decoder, tmp_path, bad, max_pixels=pixels) == str(here.value).removeprefix("a.png: ")


def test_one_helper_takes_one_picture_after_another(decoder: Decoder, tmp_path: Path) -> None:
    assert children() == [], "none before the first picture"
    check(decoder, tmp_path, picture())
    first = children()
    for _ in range(5):
        check(decoder, tmp_path, picture())
    assert children() == first
    assert len(first) == 1
    refusal(decoder, tmp_path, b"no picture")
    check(decoder, tmp_path, picture())
    assert children() != first, "after a bad picture the next one gets a fresh helper"


def test_many_threads_share_a_few_helpers(tmp_path: Path) -> None:
    decoder = Decoder(helpers=2)
    with ThreadPoolExecutor(8) as pool:
        widths = [pool.submit(check, decoder, tmp_path, picture(size=(n, 5))) for n in range(1, 41)]
        assert [found.result().width for found in widths] == list(range(1, 41))
    assert 1 <= len(children()) <= 2
    decoder.close()
    assert children() == []


def test_a_store_that_decodes_elsewhere(decoder: Decoder, tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store", max_bytes=10_000, max_pixels=1000, check=decoder.check)
    assert store.put_bytes(picture(), name="a").width == 8
    with pytest.raises(PictureError, match=r"^b: is truncated or broken"):
        store.put_bytes(picture()[:40], name="b")


# --- hostile ones ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        (CRASH, "breaks the decoder"),
        ("os._exit(0)", "breaks the decoder"),
        ("os.close(0)", "breaks the decoder"),
        (LOOP, "takes too long to decode"),
        ("signal.setitimer(signal.ITIMER_REAL, 0)\n" + LOOP, "takes too long to decode"),
        (SLEEP, "takes too long to decode"),
        (EAT, "breaks the decoder"),
        ("raise SystemExit", "breaks the decoder"),
        ("os.write(0, b'no json\\n'); " + SLEEP, "breaks the decoder"),
        ("os.write(0, b'[' * 9000); " + SLEEP, "breaks the decoder"),
        ("os.write(0, b'[' * 4000 + b'\\n'); " + SLEEP, "breaks the decoder"),
        ("os.write(0, b'[\"image/png\", 1000, 1000]\\n'); " + SLEEP, "breaks the decoder"),
        ("os.write(0, b'[\"image/png\", -1, -1]\\n'); " + SLEEP, "breaks the decoder"),
        ("os.write(0, b'[\"text/html\", 1, 1]\\n'); " + SLEEP, "breaks the decoder"),
    ],
)
def test_whatever_it_does_the_picture_is_refused_and_the_next_is_not(
    hostile: Decoder, tmp_path: Path, deed: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper's own limits do it, long before this process would."""
    monkeypatch.setattr("jobs.pictures.decoding.wall_limit_seconds", lambda _: 70.0)
    began = time.monotonic()
    assert why in refusal(hostile, tmp_path, deed)
    assert time.monotonic() - began < 60
    assert check(hostile, tmp_path, "pass").width == 4


def test_the_words_of_a_helper_are_cut_and_harmless(hostile: Decoder, tmp_path: Path) -> None:
    said = 'os.write(0, b\'{"problem": ": \\\\u001b[31m\' + b"x" * 3000 + b\'"}\\n\'); ' + SLEEP
    text = refusal(hostile, tmp_path, said)
    assert text.isprintable()
    assert len(text) < 400


def test_one_that_ignores_every_limit_is_ended_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.pictures.decoding.wall_limit_seconds", lambda _: 0.5)
    decoder = Decoder(helpers=1, command=HOSTILE)
    deed = "signal.setitimer(signal.ITIMER_REAL, 0); " + SLEEP
    assert "takes too long" in refusal(decoder, tmp_path, deed)
    assert children() == []


def test_a_helper_that_is_killed_between_two_pictures_is_replaced(decoder: Decoder, tmp_path: Path) -> None:
    check(decoder, tmp_path, picture())
    helper = int(children()[0].split()[1])
    os.kill(helper, signal.SIGKILL)
    until(lambda: not alive(helper))
    assert check(decoder, tmp_path, picture()).width == 8
    assert len(children()) == 1


def test_one_that_does_not_start_is_no_fault_of_the_picture(tmp_path: Path) -> None:
    decoder = Decoder(command=[sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(OSError, match="does not start"):
        check(decoder, tmp_path, picture())
    assert children() == []


def progressive_bomb(side: int, scans: int) -> bytes:
    """A JPEG of few bytes and much work: each of its scans makes the decoder go over the whole picture again."""

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    def scan(first: int, last: int, data: bytes) -> bytes:
        return segment(0xDA, bytes([1, 1, 0, first, last, 0])) + data

    blocks = (side // 8) ** 2
    frame = segment(0xC2, bytes([8]) + side.to_bytes(2, "big") * 2 + bytes([1, 1, 0x11, 0]))
    tables = segment(0xDB, bytes([0]) + bytes([1]) * 64)
    # One code of one bit in each table: for DC "no difference"; for AC "the next 16,384 blocks and more are empty".
    tables += segment(0xC4, bytes([0x00, 1]) + bytes(15) + bytes([0]))
    tables += segment(0xC4, bytes([0x10, 1]) + bytes(15) + bytes([0xE0]))
    bits = ("0" + "0" * 14) * (blocks // 16_384 + 1)
    empty = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    body = scan(0, 0, bytes(blocks // 8 + 1)) + scan(1, 63, empty) * scans
    return b"\xff\xd8" + tables + frame + body + b"\xff\xd9"


def test_a_real_picture_that_would_take_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a fault of the decoder: the format allows it."""
    bomb = progressive_bomb(4096, 40_000)
    assert len(bomb) < 3_000_000
    quick = [
        sys.executable,
        "-c",
        "import jobs.pictures.decoder_helper as h; h.BASE_CPU_SECONDS = 0; h.PIXELS_PER_CPU_SECOND = 20e6; h.main()",
    ]
    decoder = Decoder(helpers=1, command=quick)
    assert check(decoder, tmp_path, progressive_bomb(4096, 1), max_pixels=64_000_000).width == 4096
    assert "takes too long to decode" in refusal(decoder, tmp_path, bomb, max_pixels=64_000_000)
    decoder.close()
    assert children() == []


# --- waiting, leaving --------------------------------------------------------------------------------------------


class Leaving(Exception):
    pass


def leave() -> None:
    raise Leaving


def test_whoever_waits_is_asked_and_may_leave(
    hostile: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.pictures.decoding.WAIT_SECONDS", 0.05)
    asked: list[float] = []

    def progress() -> None:
        asked.append(time.monotonic())
        if len(asked) > 3:
            raise Leaving

    with pytest.raises(Leaving):
        check(hostile, tmp_path, SLEEP, progress=progress)
    assert children() == [], "the picture that was under way is not waited for"
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(refusal, hostile, tmp_path, SLEEP)
        until(lambda: children() != [])
        with pytest.raises(Leaving):
            check(hostile, tmp_path, "pass", progress=leave)
        assert "takes too long" in busy.result(timeout=30)


def test_closed_while_one_is_at_work(hostile: Decoder, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(check, hostile, tmp_path, "time.sleep(0.5)")
        until(lambda: children() != [])
        hostile.close()
        assert busy.result(timeout=30).width == 4
    assert children() == []


PARENT = """
import os, sys, threading
from pathlib import Path
from jobs.pictures.decoding import Decoder
decoder = Decoder()
def work():
    decoder.check(Path(sys.argv[1]), 10_000, "a")
while True:
    thread = threading.Thread(target=work); thread.start(); thread.join()
    print([helper._process.pid for helper in decoder._idle][0], flush=True)
    if not sys.stdin.readline():
        break
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None])
def test_it_ends_with_its_parent_however_that_ends(tmp_path: Path, how: signal.Signals | None) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    command = [sys.executable, "-c", PARENT, str(tmp_path / "a.png")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        helper = int(parent.stdout.readline())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(helper, number)  # a supervisor's, to the whole group: the parent may still need it
        parent.stdin.write("again\n")
        parent.stdin.flush()
        assert int(parent.stdout.readline()) == helper
        if how is not None:
            parent.send_signal(how)
        parent.communicate()
    until(lambda: not alive(helper))


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def alive(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(found.strip()) and not found.startswith("Z")


# --- the helper's side, here -------------------------------------------------------------------------------------


def test_the_helper_knows_no_setting_and_may_write_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLENDQ_API_KEY", "CANARY")
    decoder = Decoder(helpers=1, command=HOSTILE)
    told = "raise __import__('jobs.errors').errors.PictureError(': ' + repr({}))"
    names = refusal(decoder, tmp_path, told.format("sorted(set(os.environ) - {'LC_CTYPE'})"))
    assert names == "['PYTHONPATH']", "but for what Python itself adds"
    places = refusal(decoder, tmp_path, told.format("os.listdir('/dev/fd')"))
    assert len(places.split(",")) <= 6, "standard streams, the picture, and the listing itself"
    grown = f"open({str(tmp_path / 'grown')!r}, 'wb', buffering=0).write(b'x')"
    assert "breaks the decoder" in refusal(decoder, tmp_path, grown)
    assert (tmp_path / "grown").stat().st_size == 0


def test_serving_until_the_other_end_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_helper, "_soft_limit", lambda *_: None)  # it is this process that would be limited
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=decoder_helper.serve, args=(theirs,))
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    thread.start()
    with ours, theirs:
        assert ours.recv(100) == decoder_helper.READY
        for content, answer in ((picture(), b'["image/png", 8, 6]\n'), (b"", b'{"problem": ": is not a picture')):
            (tmp_path / "a").write_bytes(content)
            with (tmp_path / "a").open("rb") as file:
                socket.send_fds(ours, [decoder_helper.REQUEST.pack(100)], [file.fileno()])
            assert ours.recv(200).startswith(answer)
        ours.shutdown(socket.SHUT_WR)
        thread.join(10)
    assert not thread.is_alive()


def test_the_limits_grow_with_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[int, int] = {}
    monkeypatch.setattr(decoder_helper, "_soft_limit", limits.__setitem__)
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    decoder_helper._limit(0)
    small = dict(limits)
    decoder_helper._limit(64_000_000)
    assert all(limits[kind] > small[kind] for kind in limits)
    assert len(limits) == 2
