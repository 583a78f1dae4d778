"""Manifests: JSONL, files that are none, and what holds across rows; nothing is done before every row was read."""

from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import producer.manifests.text
from jobs.errors import InvalidRequest, ManifestError
from jobs.request import BlendRequest, BotType, Mode
from producer.manifests.manifest import Row, load_manifest, read_manifest
from tests.unit.manifests import DATA_URL, DIGEST, only_request, problems, refusal, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "campaign"


# --- JSONL --------------------------------------------------------------------------------------------------------


def test_json_lines(folder: Path) -> None:
    text = (
        '\ufeff{"images": ["a.png", "/b.png"], "priority": 3, "modes": ["RELAX"]}\r\n\n'
        f'{{"base64Array": ["{DATA_URL}", "{DIGEST}"], "botType": "NIJI_JOURNEY", "metadata": {{"a": [1]}}}}'
    )
    rows = load_manifest(written(folder, text, "m.ndjson"))
    assert rows == [
        Row(1, BlendRequest(images=(f"{folder}/a.png", "/b.png"), priority=3, modes=(Mode.RELAX,))),
        Row(3, BlendRequest(images=(DATA_URL, DIGEST), bot_type=BotType.NIJI_JOURNEY, metadata={"a": [1]})),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('["a", "b"]', "the row must be a JSON object"),
        ('{"images": ["a", "b"]', "the row is not JSON: Expecting ',' delimiter at column 22"),
        ('{"images": ["a", "b"], "dimension": "SQUARE"}', "unknown field 'dimension' (did you mean dimensions?)"),
        ('{"images": ["a"], "zzz": 1}', "unknown field 'zzz'; images: a blend takes 2 to 5 pictures, not 1"),
        ('{"images": ["a", "b"], "metadata": {"n": NaN}}', "has a number that JSON cannot keep"),
        ('{"images": ["a", "b"], "metadata": {"n": 1e999}}', "has a number that JSON cannot keep"),
        ('{"images": ["a", "b"], "metadata": {"n": 1' + "0" * 5000 + "}}", "has a number that JSON cannot keep"),
        ('{"images": ["a", "\\ud800"]}', "has half a character"),
        ('{"images": ["a", "b"], "metadata": {"\\udfff": 1}}', "has half a character"),
        ("[" * 100_000, "nested too deeply"),
        ('{"image1": "a", "image2": "b"}', "images is missing"),
        ("{}", "images is missing"),
        ('{"images": [1, 2]}', "images.0"),
        ('{"images": ["a", ""]}', "a picture's name is empty"),
    ],
)
def test_a_bad_line(folder: Path, line: str, problem: str) -> None:
    good = '{"images": ["a", "b"]}'
    (found,) = problems(folder, f"{good}\n\n{line}\n{good}\n", "m.jsonl")
    assert found.startswith("line 3: ")
    assert problem in found
    assert len(found) < 250


def test_a_whole_character_written_as_two_escapes_is_fine(folder: Path) -> None:
    request = only_request(folder, '{"images": ["a", "b"], "state": "\\ud83d\\ude00 \\u00e9"}', "m.jsonl")
    assert request.state == "😀 é"


# --- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "\n\n", "image1,image2\n", "image1,image2\n\n,,\n"])
def test_nothing_in_it(folder: Path, content: str) -> None:
    assert ("is empty" if not content.strip() else "has no rows") in refusal(folder, content)
    if not content.strip():
        assert "has no rows" in refusal(folder, content, "m.jsonl")


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1 is not UTF-8 text"),
        (b"image1,\0image2\n", "is not a text file (line 1)"),
        ("image1,image2\n".encode("utf-16"), "is UTF-16 text"),
        (b"image1,image2\n/a,/b\n/a,/caf\xe9\n", "line 3 is not UTF-8 text"),
    ],
)
def test_not_text(folder: Path, name: str, content: bytes, said: str) -> None:
    assert said in refusal(folder, content, name)


def test_bad_rows_before_the_bad_place_are_named_too(folder: Path) -> None:
    path = written(folder, b"image1,image2,state\n/a,,\n" + b"/a,/b,%s\n" % (b"x" * 200) * 3_000 + b"\xff\xff\n")
    with pytest.raises(ManifestError, match="is not UTF-8 text") as caught:
        load_manifest(path)
    assert [problem.line for problem in caught.value.problems] == [2]


@pytest.mark.parametrize("name", ["m.txt", "m", "m.yaml.txt", "m.csv.gz"])
def test_another_suffix(folder: Path, name: str) -> None:
    assert refusal(folder, "", name).startswith("its name must end in .csv, .tsv, .jsonl, .ndjson, .yaml, .yml")


def test_not_a_file(folder: Path) -> None:
    for path, words in ((folder / "none.csv", "no such file"), (Path("a\0.csv"), "cannot be opened")):
        with pytest.raises(ManifestError, match=words):
            load_manifest(path)
    (folder / "folder.csv").mkdir(parents=True)
    with pytest.raises(ManifestError, match="is a folder"):
        load_manifest(folder / "folder.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(folder: Path) -> None:
    path = written(folder, "")
    path.chmod(0)
    with pytest.raises(ManifestError, match="may not be read"):
        load_manifest(path)


def test_unreadable_in_plain_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = written(folder, "")
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(ManifestError, match="may not be read"):
        load_manifest(path)


def test_in_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    """Its pictures were blended, and then nothing could be written about them."""
    (place := tmp_path / "b\udcff").mkdir()
    (place / "m.csv").write_text("image1,image2\na.png,b.png\n")
    with pytest.raises(ManifestError, match="is not UTF-8; rename it"):
        load_manifest(place / "m.csv")


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_a_line_without_end(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer.manifests.text, "MAX_LINE_CHARACTERS", 1000)
    assert "line 1 is over the limit of 1,000 characters" in refusal(folder, "x" * 5000, name)


def test_a_long_data_url_fits_in_a_cell(folder: Path) -> None:
    url = "data:image/png;base64," + "A" * 1_000_000
    assert only_request(folder, f'image1,image2\n"{url}",/b\n').images == (url, "/b")


@pytest.mark.no_cover
def test_a_long_manifest_is_streamed(folder: Path) -> None:
    path = written(folder, "image1,image2,metadata\n" + f'/a,/b,"{{""a"": ""{"x" * 2000}""}}"\n' * 2_000)
    tracemalloc.start()
    try:
        assert sum(isinstance(row, Row) for row in read_manifest(path)) == 2_000
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 4
    finally:
        tracemalloc.stop()


# --- across rows ----------------------------------------------------------------------------------------------------


def test_one_custom_id_for_two_blends(folder: Path) -> None:
    text = "image1,image2,custom_id\n/a,/b,x\n/a,/b,x\n/a,/c,x\n/a,/c,\n/a,/c,y\n"
    assert problems(folder, text) == ["line 4: custom_id 'x' is used on line 2 too, for another blend"]


def test_a_check_of_the_callers_own(folder: Path) -> None:
    def no_niji(row: Row) -> None:
        if row.request.bot_type is BotType.NIJI_JOURNEY:
            raise InvalidRequest("our account has no Niji")

    path = written(folder, "images,bot_type\n/a|/b,NIJI_JOURNEY\n/a|/b,\n/a,\n")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, no_niji)
    assert [problem.line for problem in caught.value.problems] == [2, 4]
    assert caught.value.problems[0].problem == "our account has no Niji"


@pytest.mark.no_cover
@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "m.yaml"])
@given(
    text=st.one_of(
        st.text(max_size=200),
        st.lists(st.text(max_size=30), max_size=6).map(lambda rows: "image1,image2,metadata\n" + "\n".join(rows)),
        st.dictionaries(
            st.sampled_from(["images", "state", "metadata", "custom_id", "modes", "remix", "x"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.characters(),
                lambda inner: st.lists(inner) | st.dictionaries(st.characters(), inner),
                max_leaves=5,
            ),
        ).map(json.dumps),
    )
)
@settings(max_examples=200)
def test_arbitrary_text_is_refused_by_one_kind_of_error(name: str, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with suppress(ManifestError):
            for row in load_manifest(path):
                assert BlendRequest.model_validate_json(row.request.model_dump_json()) == row.request
