"""The streamed body: equal to the naive one, of the length announced, incomplete until the commit (I2, I3)."""

from __future__ import annotations

import base64
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.errors import PictureMissing, PictureUnreadable
from jobs.request import BlendRequest, BotType, Dimensions, Mode
from worker.proxy.body import CHUNK_BYTES, WRITE_BYTES, BlendBody, Picture

STATE = 'token und ‘mehr’ "\\/\u0000\u2028\ud800🙂'


def pictures(folder: Path, *contents: bytes, read: bool = False) -> list[Picture]:
    made = []
    for index, content in enumerate(contents):
        path = folder / f"{index}.bin"
        path.write_bytes(content)
        made.append(
            Picture(("image/png", "image/webp", "image/jpeg")[index % 3], path, len(content), content if read else None)
        )
    return made


def request_for(several: list[Picture], **options: Any) -> BlendRequest:
    return BlendRequest(images=tuple(f"{index}.png" for index in range(len(several))), **options)


def body_of(several: list[Picture]) -> BlendBody:
    return BlendBody(request_for(several), several, "https://hooks.example/a", "token")


class Commit:
    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.error = error

    def __call__(self) -> None:
        self.calls += 1
        if self.error:
            raise self.error


def naive(several: list[Picture], account: dict[str, Any], nested: bool, **options: Any) -> dict[str, Any]:
    data = [f"data:{p.media_type};base64,{base64.b64encode(p.path.read_bytes()).decode()}" for p in several]
    fields = {"base64Array": data, **options, **({"accountFilter": account or None} if nested else account)}
    return {name: value for name, value in fields.items() if value is not None}


SIZES = st.sampled_from([0, 1, 2, 3, 4, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
CONTENTS = st.lists(st.binary(max_size=40) | SIZES.map(bytes), min_size=2, max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=CONTENTS,
    state=st.none() | st.text(max_size=255) | st.just(STATE),
    hook=st.none() | st.just('https://hooks.example/a/b?c="d"&e=ü'),
    instance=st.none() | st.text(max_size=20),
    modes=st.lists(st.sampled_from(Mode), max_size=3),
    remix=st.none() | st.booleans(),
    auto=st.none() | st.booleans(),
    bot=st.sampled_from(BotType),
    dimensions=st.sampled_from(Dimensions),
    nested=st.booleans(),
    read=st.booleans(),
)
def test_the_json_is_the_naive_one(
    tmp_path: Path,
    contents: list[bytes],
    state: str | None,
    hook: str | None,
    instance: str | None,
    modes: list[Mode],
    remix: bool | None,
    auto: bool | None,
    bot: BotType,
    dimensions: Dimensions,
    nested: bool,
    read: bool,
) -> None:
    several = pictures(tmp_path, *contents, read=read)
    request = request_for(
        several,
        bot_type=bot,
        dimensions=dimensions,
        instance_id=instance,
        modes=tuple(modes),
        remix=remix,
        remix_auto_considered=auto,
        notify_hook="https://callers.own.example/",
        state="the caller's own",
    )
    body = BlendBody(request, several, hook, state, nested)
    sent = b"".join(body.stream(Commit()))
    account = {"instanceId": instance, "modes": [*modes] or None, "remix": remix, "remixAutoConsidered": auto}
    given_account = {name: value for name, value in account.items() if value is not None}
    options = {"botType": bot.value, "dimensions": dimensions.value, "notifyHook": hook, "state": state}
    assert len(sent) == body.content_length
    assert json.loads(sent) == naive(several, given_account, nested, **options)


def test_the_commit_comes_after_all_but_the_last_byte(tmp_path: Path) -> None:
    """I2."""
    body = body_of(pictures(tmp_path, b"a" * 500_000, b"b"))
    commit, sent = Commit(), b""
    for chunk in body.stream(commit):
        assert commit.calls == (1 if len(sent) == body.content_length - 1 else 0)
        sent += chunk
    assert (commit.calls, chunk, len(sent)) == (1, b"}", body.content_length)


def test_a_commit_that_fails_keeps_the_last_byte_back(tmp_path: Path) -> None:
    """I3."""
    body = body_of(pictures(tmp_path, b"a", b"b"))
    error, chunks = RuntimeError("lease lost"), list[bytes]()
    with pytest.raises(RuntimeError) as caught:
        chunks.extend(body.stream(Commit(error)))
    sent = b"".join(chunks)
    assert caught.value is error
    assert len(sent) == body.content_length - 1
    with pytest.raises(ValueError, match="delimiter"):
        json.loads(sent)


def test_what_is_small_goes_out_in_few_writes(tmp_path: Path) -> None:
    small = body_of(pictures(tmp_path, *[bytes(1000)] * 2))
    assert len(list(small.stream(Commit()))) == 2, "all but the last byte, and that"
    large = body_of(pictures(tmp_path, *[bytes(3 * CHUNK_BYTES)] * 2))
    assert max(map(len, large.stream(Commit()))) <= WRITE_BYTES


def test_what_was_read_is_not_read_again_nor_shown(tmp_path: Path) -> None:
    """I8."""
    several = pictures(tmp_path, b"first picture", b"b", read=True)
    several[0].path.unlink()
    assert base64.b64encode(b"first picture") in b"".join(body_of(several).stream(Commit()))
    assert "first" not in repr(several)
    with pytest.raises(ValueError, match=r"of 2 bytes has 1$"):
        Picture("image/png", several[1].path, 2, b"b")


def test_a_body_can_be_streamed_again(tmp_path: Path) -> None:
    body = body_of(pictures(tmp_path, b"a", b"b"))
    assert b"".join(body.stream(Commit())) == b"".join(body.stream(Commit()))


def test_progress_is_called_between_chunks_and_may_abort(tmp_path: Path) -> None:
    body = body_of(pictures(tmp_path, b"a" * 5 * CHUNK_BYTES, b"b"))
    commit, progress = Commit(), Commit()
    chunks = len(list(body.stream(commit, progress)))
    assert progress.calls == chunks - 1  # Before every chunk but the first: before the commit, too.
    abort, commit = Commit(TimeoutError("stop")), Commit()
    with pytest.raises(TimeoutError):
        list(body.stream(commit, abort))
    assert (abort.calls, commit.calls) == (1, 0)


@pytest.mark.parametrize("change", ["shorter", "longer", "empty", "missing", "a folder"])
@pytest.mark.parametrize("size", [1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
@pytest.mark.parametrize("which", [0, 1])
def test_a_picture_that_changed_is_missing_before_the_commit(
    tmp_path: Path, change: str, size: int, which: int
) -> None:
    several = pictures(tmp_path, b"a" * size, b"b" * size)
    body, path, commit = body_of(several), several[which].path, Commit()
    match change:
        case "shorter":
            path.write_bytes(b"a" * (size - 1))
        case "longer":
            path.write_bytes(b"a" * (size + 1))
        case "empty":
            path.write_bytes(b"")
        case _:
            path.unlink()
            if change == "a folder":
                path.mkdir()
    with pytest.raises(PictureMissing, match=path.name):
        list(body.stream(commit))
    assert commit.calls == 0


def test_a_picture_that_cannot_be_opened_may_be_there_all_the_same(tmp_path: Path) -> None:
    """Too many files are open, or the disk is away for a moment."""
    several = pictures(tmp_path, b"a", b"b")
    path, commit = several[1].path, Commit()
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(PictureUnreadable, match=f"{path.name}.*it is tried again"):
        list(body_of(several).stream(commit))
    assert commit.calls == 0


def test_an_empty_picture_that_grew_is_noticed(tmp_path: Path) -> None:
    several = pictures(tmp_path, b"", b"b")
    several[0].path.write_bytes(b"a")
    with pytest.raises(PictureMissing):
        list(body_of(several).stream(Commit()))


def test_a_path_that_no_system_takes_is_missing(tmp_path: Path) -> None:
    several = [Picture("image/png", Path("nul\0"), 1), *pictures(tmp_path, b"b")]
    with pytest.raises(PictureMissing):
        list(body_of(several).stream(Commit()))


@pytest.mark.parametrize(
    "media_type", ["", "text/html", "image/", 'image/png","x":"', "image/png;base64", "image/p\nng"]
)
def test_a_media_type_cannot_break_the_json(media_type: str) -> None:
    with pytest.raises(ValueError, match="not a picture"):
        Picture(media_type, Path("a.png"), 1)


def test_the_number_of_pictures_must_be_the_requests(tmp_path: Path) -> None:
    several = pictures(tmp_path, b"a", b"b", b"c")
    with pytest.raises(ValueError, match="2 pictures"):
        BlendBody(request_for(several[:2]), several)


def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    body = body_of(pictures(tmp_path, *[bytes(4 << 20)] * 5))
    tracemalloc.start()
    try:
        sent = sum(len(chunk) for chunk in body.stream(Commit()))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent == body.content_length
    assert peak_bytes < 8 * CHUNK_BYTES
