"""The image store: what gets in, what does not, and that each content is there once. Invariant I8 for its errors."""

from __future__ import annotations

import base64
import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from jobs.errors import PictureError, PictureMissing
from jobs.pictures.images import ImageStore, StoredImage
from jobs.pictures.picture_formats import MAX_HEADER_READS, Header, check_picture, read_header

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6), color: str = "teal", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind, **options)
    return file.getvalue()


def noise(kind: str) -> bytes:
    """A picture that does not compress, so that half of it is really half."""
    file = io.BytesIO()
    pixels = b"".join(zlib.crc32(bytes([n & 255, n >> 8])).to_bytes(4, "big")[:3] for n in range(64 * 64))
    Image.frombytes("RGB", (64, 64), pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store", max_bytes=100_000, max_pixels=10_000)


def files_in(store: ImageStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


# --- what gets in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_kept_as_it_is(store: ImageStore, kind: str) -> None:
    data = picture(kind)
    stored = store.put_bytes(data, name="a")
    assert (stored.media_type, stored.width, stored.height, stored.bytes) == (KINDS[kind], 8, 6, len(data))
    assert stored.path == store.root / stored.digest[7:9] / stored.digest[7:]
    assert stored.path.read_bytes() == data
    assert store.find(stored.digest) == stored
    with store.open(stored.digest) as file:
        assert file.read() == data


@pytest.mark.parametrize(
    ("size", "options"),
    [((33, 17), {"lossless": True}), ((33, 17), {"exif": b"Exif\0\0" + bytes(20)}), ((33, 17), {})],
    ids=["VP8L", "VP8X", "VP8"],
)
def test_the_size_in_each_kind_of_webp(store: ImageStore, size: tuple[int, int], options: dict[str, Any]) -> None:
    stored = store.put_bytes(picture("WEBP", size, **options), name="a")
    assert (stored.width, stored.height) == size


@pytest.mark.parametrize("kind", KINDS)
@given(width=st.integers(1, 90), height=st.integers(1, 90), level=st.integers(0, 255))
@settings(max_examples=25)
def test_what_was_put_is_found(kind: str, width: int, height: int, level: int) -> None:
    data = picture(kind, (width, height), f"rgb({level}, 0, {255 - level})")
    with tempfile.TemporaryDirectory() as folder:
        store = ImageStore(Path(folder), max_bytes=100_000, max_pixels=10_000)
        stored = store.put_bytes(data, name="a")
        assert store.find(stored.digest) == stored == store.put_bytes(data, name="again")
        assert (stored.width, stored.height) == (width, height)
        assert stored.path.read_bytes() == data


def test_a_file(store: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(picture())  # its name lies; its content counts
    assert store.put_file(path).media_type == "image/png"


def test_a_data_url_by_its_real_type(store: ImageStore) -> None:
    url = "DATA:image/jpeg;base64," + base64.b64encode(picture()).decode()
    assert store.put_data_url(url, name="image 1").media_type == "image/png"


def test_a_picture_in_pieces(store: ImageStore) -> None:
    data = noise("PNG")
    with store.incoming() as incoming:
        for start in range(0, len(data), 1000):
            incoming.write(data[start : start + 1000])
        stored = incoming.keep()
        assert incoming.keep() is stored
        with pytest.raises(ValueError, match="already kept"):
            incoming.write(b"more")
    assert stored.path.read_bytes() == data
    assert files_in(store) == [stored.path]


def test_a_picture_of_exactly_the_limits_gets_in(tmp_path: Path) -> None:
    data = picture(size=(8, 6))
    store = ImageStore(tmp_path, max_bytes=len(data), max_pixels=48)
    assert store.put_bytes(data, name="a").bytes == len(data)
    url = "data:;base64," + base64.b64encode(picture(size=(8, 6))).decode()
    assert store.put_data_url(url, name="a").bytes == len(data)


# --- each content once --------------------------------------------------------------------------------------------


def test_known_content_is_neither_decoded_nor_written_again(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture()
    first = store.put_bytes(data, name="a")
    before = first.path.stat().st_ino, first.path.stat().st_mtime_ns

    def no_more(*_: object) -> None:
        raise AssertionError("decoded or renamed again")

    monkeypatch.setattr(ImageFile.ImageFile, "load", no_more)
    monkeypatch.setattr(Path, "replace", no_more)
    with store.incoming() as incoming:
        incoming.write(data)
        assert incoming.keep() == first
    monkeypatch.setattr(ImageStore, "incoming", no_more)
    assert store.put_bytes(data, name="b") == first
    assert (first.path.stat().st_ino, first.path.stat().st_mtime_ns) == before
    assert files_in(store) == [first.path]


def test_a_damaged_picture_is_mended_by_putting_it_again(store: ImageStore) -> None:
    data = picture()
    stored = store.put_bytes(data, name="a")
    for damage in (b"", data[:-1], data[:40]):
        stored.path.write_bytes(damage)
        assert store.put_bytes(data, name="a") == stored
        assert stored.path.read_bytes() == data


def test_threads_that_put_the_same_picture_at_once(store: ImageStore) -> None:
    data, start = noise("WEBP"), threading.Barrier(8)

    def put(_: int) -> StoredImage:
        start.wait(timeout=30)
        return store.put_bytes(data, name="a")

    with ThreadPoolExecutor(8) as pool:
        results = set(pool.map(put, range(8)))
    assert [result.path for result in results] == files_in(store)


PUT_FOREVER = """
import sys
from pathlib import Path
from jobs.pictures.images import ImageStore
root, source = map(Path, sys.argv[1:])
sys.stdin.readline()
for _ in range(50):
    stored = ImageStore(root, max_bytes=100_000, max_pixels=10_000).put_file(source)
    stored.path.unlink(missing_ok=True)  # so that the next round writes again
print(ImageStore(root, max_bytes=100_000, max_pixels=10_000).put_file(source).digest)
"""


def test_processes_that_put_the_same_picture_at_once(store: ImageStore, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(noise("PNG"))
    command = [sys.executable, "-c", PUT_FOREVER, str(store.root), str(source)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    digests = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert digests == {store.put_file(source).digest}
    assert not list((store.root / "tmp").iterdir())


def test_a_picture_is_on_the_disk_before_it_has_its_name(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        steps.append("sync folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "sync file")
        fsync(descriptor)

    def watched_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    store.put_bytes(picture(), name="makes the folders").path.unlink()
    others = [ImageStore(store.root, max_bytes=100_000, max_pixels=10_000) for _ in range(2)]
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    stored = others[0].put_bytes(picture(), name="a")
    assert steps == ["sync file", "rename", "sync folder", "sync folder"]
    others[1].put_bytes(picture(), name="found: another process may have renamed it without having synced it yet")
    assert steps[4:] == ["sync folder", "sync folder"]
    others[1].put_bytes(picture(), name="again: that the folder itself is there has been seen to")
    assert steps[6:] == ["sync folder"]
    shutil.rmtree(stored.path.parent)
    others[0].put_bytes(picture(), name="the folder was taken away: it is made and entered anew")
    assert steps[7:] == ["sync file", "rename", "sync folder", "rename", "sync folder"]


def test_a_folder_that_was_taken_away_is_made_again(store: ImageStore) -> None:
    stored = store.put_bytes(picture(), name="a")
    shutil.rmtree(store.root)
    assert store.find(stored.digest) is None
    assert store.put_bytes(picture(), name="a") == stored == store.find(stored.digest)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_picture_is_found_with_its_content(store: ImageStore, kind: str) -> None:
    for data in (picture(kind), noise(kind)):
        stored = store.put_bytes(data, name="a")
        assert store.read(stored.digest, len(data)) == (stored, data)
        assert store.read(stored.digest, len(data) - 1) == (stored, None)


# --- what does not get in -----------------------------------------------------------------------------------------


def refused(store: ImageStore, data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        store.put_bytes(data, name="a.png")
    assert not files_in(store)
    text = str(caught.value)
    assert text.startswith("a.png: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_picture(store: ImageStore, kind: str, share: float) -> None:
    data = noise(kind)
    assert "is truncated or broken" in refused(store, data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (picture("BMP"), "a BMP picture"),
        (picture("TIFF"), "a TIFF picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"hello", "not a picture"),
    ],
)
def test_another_kind_of_file_is_named(store: ImageStore, data: bytes, kind: str) -> None:
    assert refused(store, data) == f"a.png: is {kind}; give a PNG, JPEG, WebP or GIF picture"


def test_an_empty_picture(store: ImageStore) -> None:
    assert "is empty" in refused(store, b"")


def test_too_many_bytes(store: ImageStore) -> None:
    assert "is over the limit of 100,000 bytes" in refused(store, picture() + bytes(100_000))


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_pixels_are_refused_before_decoding(
    store: ImageStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = picture(kind, (101, 100))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    assert "101 x 100 pixels is over the limit of 10,000" in refused(store, data)


def _png(*sizes: tuple[int, int], pixels: bytes = bytes(99)) -> bytes:
    """A PNG with a header of each of these sizes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    headers = [chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)) for size in sizes]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*headers, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")])


def _gif_bomb() -> bytes:
    """Its screen is small; its first frame is not. Pillow makes the picture as large as the frame."""
    data = bytearray(picture("GIF"))
    frame = data.index(b",", 13 + 6)
    data[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    return bytes(data)


@pytest.mark.parametrize("bomb", [_png((50_000, 50_000)), _gif_bomb()], ids=["png", "gif"])
def test_a_bomb_is_refused_without_a_warning(store: ImageStore, bomb: bytes) -> None:
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        assert "000 pixels is over the limit" in refused(store, bomb)
    assert not leaked


def test_a_bomb_behind_a_harmless_header_is_not_decoded(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two headers Pillow believes the last."""
    rows = bytes((3 * 101 + 1) * 101)
    assert store.put_bytes(_png((8, 6), (8, 6), pixels=rows), name="twice the same").width == 8
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(PictureError, match="truncated or broken"):
        store.put_bytes(_png((8, 6), (101, 101), pixels=rows), name="a")


_GIF, _JPEG = picture("GIF"), picture("JPEG")
_BEHIND_COLORS = 13 + (6 << (_GIF[10] & 7))


def _gif_after(part: bytes) -> bytes:
    return _GIF[:_BEHIND_COLORS] + part + _GIF[_BEHIND_COLORS:]


def _jpeg_after(part: bytes) -> bytes:
    return _JPEG[:2] + part + _JPEG[2:]


MANY = MAX_HEADER_READS + 1


@pytest.mark.parametrize(
    "data",
    [
        _gif_after(b"!\xfe" + b"\x01a" * MANY + b"\0"),
        _gif_after(b"!\xfe\0" * MANY),
        _jpeg_after(b"\xff\xfe\x00\x02" * MANY),
        _jpeg_after(b"\xff\xe1\x00\x02" * MANY),
        _jpeg_after(b"\xff" * MANY),
        _jpeg_after(b"\xff\0" * MANY),
    ],
    ids=["gif comment", "gif comments", "jpeg comments", "jpeg applications", "jpeg padding", "jpeg junk"],
)
def test_a_header_of_a_million_tiny_parts_is_not_gone_through(data: bytes) -> None:
    """Some 20 MiB of them take Pillow 17 s and 700 MB, in whichever process looks at the header."""
    with pytest.raises(PictureError, match="truncated or broken"):
        read_header(io.BytesIO(data), "a")


@pytest.mark.parametrize(
    "data",
    [
        _gif_after(b"!\xfe" + (b"\xff" + b"a" * 255) * 80_000 + b"\0"),
        _jpeg_after((b"\xff\xe2\xff\xff" + b"a" * 0xFFFD) * 320),
    ],
    ids=["gif", "jpeg"],
)
def test_an_honest_header_may_be_as_long_as_a_picture(data: bytes) -> None:
    assert len(data) > 20_000_000
    assert read_header(io.BytesIO(data), "a")[1:] == (8, 6)


def test_a_picture_that_takes_all_memory(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", too_much)
    assert "takes too much memory" in refused(store, picture())


def test_a_check_of_the_stores_own_and_one_for_a_single_picture(tmp_path: Path) -> None:
    def no(_: object, __: int, name: str) -> Header:
        raise PictureError(f"{name}: no")

    careful = ImageStore(tmp_path / "careful", max_bytes=100_000, max_pixels=10_000, check=no)
    assert refused(careful, picture()) == "a.png: no"
    with careful.incoming(check=check_picture) as incoming:
        incoming.write(picture())
        assert incoming.keep().width == 8


def test_a_large_picture_within_the_limit_gives_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    store = ImageStore(tmp_path, max_bytes=100_000, max_pixels=50)
    for kind in KINDS:
        store.put_bytes(picture(kind), name="48 pixels, over Pillow's limit, within ours")


@given(data=st.binary(max_size=200), magic=st.sampled_from([picture(kind)[:n] for kind in KINDS for n in (8, 20, 40)]))
@settings(max_examples=300)
def test_arbitrary_bytes_are_refused_by_one_kind_of_error(data: bytes, magic: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ImageStore(Path(folder), max_bytes=150, max_pixels=10_000)
        for content in (data, magic + data):
            try:
                store.put_bytes(content, name="a")
            except PictureError:
                assert not files_in(store)


# --- files ------------------------------------------------------------------------------------------------------


def refused_file(store: ImageStore, path: Path) -> str:
    with pytest.raises(PictureError) as caught:
        store.put_file(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_such_file(store: ImageStore, tmp_path: Path) -> None:
    assert refused_file(store, tmp_path / "a.png") == f"{tmp_path}/a.png: no such file; check the name"
    (tmp_path / "file").touch()
    assert "no such file" in refused_file(store, tmp_path / "file" / "a.png")


def test_a_folder(store: ImageStore, tmp_path: Path) -> None:
    assert "is a folder" in refused_file(store, tmp_path)


def test_a_name_that_cannot_be(store: ImageStore) -> None:
    assert "not a possible file name" in refused_file(store, Path("a\0b"))
    assert "not a possible file name" in refused_file(store, Path("a\ud800b"))
    assert "cannot be read" in refused_file(store, Path("a" * 5000))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(store: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture())
    path.chmod(0)
    assert "may not be read" in refused_file(store, path)


def test_permission_in_plain_words(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert "may not be read; allow" in refused_file(store, tmp_path / "a.png")


@pytest.mark.timeout(20)
def test_a_pipe_or_a_device_is_refused_at_once(store: ImageStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refused_file(store, tmp_path / "pipe.png")
    assert "not a regular file" in refused_file(store, Path("/dev/zero"))


def test_a_large_file_is_not_read(store: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that takes no room
    assert "over the limit" in refused_file(store, path)


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture()
    (tmp_path / "a.png").write_bytes(data + bytes(100_000))
    store = ImageStore(tmp_path / "store", max_bytes=len(data), max_pixels=100)
    real = os.fstat

    def earlier(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        status[6] = min(status[6], len(data))
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", earlier)
    assert "over the limit" in refused_file(store, tmp_path / "a.png")


# --- data URLs and pieces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.png",
        "data:",
        "data:image/png,abc",
        "data:image/png;base64",
        "data:" + "x" * 500 + ";base64,",
        "http://h/",
    ],
)
def test_not_a_data_url(store: ImageStore, url: str) -> None:
    with pytest.raises(PictureError, match=r"^image 2: is not a data URL"):
        store.put_data_url(url, name="image 2")


@pytest.mark.parametrize("change", [" ", "\n", "-", "é", "=", "%2B"])
def test_base64_is_strict_and_never_shown(store: ImageStore, change: str) -> None:
    data = base64.b64encode(picture()).decode()
    with pytest.raises(PictureError, match=r"^image 2: its base64 is broken") as caught:
        store.put_data_url(f"data:image/png;base64,{data[:20]}{change}{data[20:]}", name="image 2")
    assert caught.value.__cause__ is None
    assert data[:8] not in str(caught.value)


def test_a_long_data_url_is_refused_before_it_is_decoded(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybase64.b64decode", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(PictureError, match="over the limit"):
        store.put_data_url("data:image/png;base64," + "A" * 140_000, name="image 2")


@given(text=st.text(max_size=300), start=st.sampled_from(["", "data:", "data:;base64,"]))
@settings(max_examples=200)
def test_arbitrary_text_is_refused_by_one_kind_of_error(text: str, start: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ImageStore(Path(folder), max_bytes=100, max_pixels=100)
        with pytest.raises(PictureError):
            store.put_data_url(start + text, name="image 2")


def test_pieces_over_the_limit_end_at_once(store: ImageStore) -> None:
    with store.incoming(name="the result of job 7") as incoming:
        incoming.write(bytes(100_000))
        with pytest.raises(PictureError, match=r"^the result of job 7: is over the limit"):
            incoming.write(b"1")
    assert not files_in(store)


def test_what_was_not_kept_is_deleted(store: ImageStore) -> None:
    with store.incoming() as incoming:
        incoming.write(picture())
        assert len(files_in(store)) == 1
    assert not files_in(store)
    with suppress(ConnectionError), store.incoming() as incoming:
        incoming.write(picture())
        raise ConnectionError("cut")
    assert not files_in(store)


# --- finding, and tidying ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "", "sha256:../../etc/passwd", "sha256:" + "A" * 64])
def test_a_picture_that_is_not_there(store: ImageStore, digest: str) -> None:
    assert store.find(digest) is None
    with pytest.raises(PictureMissing, match="is not in"):
        store.open(digest)


def test_a_digest_cannot_lead_out_of_the_store(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "a" / "b", max_bytes=100_000, max_pixels=10_000)
    store.put_bytes(picture(), name="makes the folders")
    (tmp_path / "private.png").write_bytes(picture())
    assert (store.root / ".." / "../private.png").exists()
    assert store.find("sha256:../private.png") is None
    with pytest.raises(PictureMissing):
        store.open("sha256:../private.png")


def test_stale_leftovers_are_removed_and_fresh_ones_are_not(store: ImageStore) -> None:
    stored = store.put_bytes(picture(), name="a")
    stale, fresh = store.root / "tmp" / "stale", store.root / "tmp" / "fresh"
    for path in (stale, fresh):
        path.write_bytes(b"half a picture")
    for path in (stale, stored.path):
        os.utime(path, (0, 0))
    ImageStore(store.root, max_bytes=1, max_pixels=1)
    assert sorted(files_in(store)) == sorted([fresh, stored.path])
    store.clean(older_than_seconds=-1)
    assert files_in(store) == [stored.path]
