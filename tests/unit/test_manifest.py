"""Manifests: what is accepted, and that every bad row is named, with its line, before anything is done."""

from __future__ import annotations

import base64
import io
import json
import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import producer.text
from jobs.actions import Action
from jobs.download import Downloads
from jobs.errors import InvalidRequest, ManifestError, RowProblem
from jobs.images import ImageStore, StoredImage
from jobs.request import BlendRequest, BotType, Dimensions, Mode, is_digest
from producer.manifest import Row, good_rows, load_manifest, read_manifest
from producer.pictures import Pictures

DIGEST = "sha256:" + "ab" * 32
DATA_URL = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "campaign"


def written(folder: Path, text: str | bytes, name: str = "m.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def only_request(folder: Path, text: str, name: str = "m.csv") -> BlendRequest:
    (row,) = load_manifest(written(folder, text, name))
    return row.request


def problems(folder: Path, text: str, name: str = "m.csv") -> list[str]:
    with pytest.raises(ManifestError) as caught:
        load_manifest(written(folder, text, name))
    assert caught.value.problems
    return [str(problem) for problem in caught.value.problems]


def refusal(folder: Path, text: str | bytes, name: str = "m.csv") -> str:
    """The text of an error about the file as a whole."""
    with pytest.raises(ManifestError) as caught:
        load_manifest(written(folder, text, name))
    assert caught.value.problems == ()
    assert str(caught.value).startswith(str(folder / name) + ": ")
    return str(caught.value).removeprefix(str(folder / name) + ": ")


# --- CSV ----------------------------------------------------------------------------------------------------------


def test_every_column(folder: Path) -> None:
    text = (
        "image1,image2,image3,bot_type,dimensions,instance_id,modes,remix,remix_auto_considered,"
        "notify_hook,state,custom_id,priority,then,metadata\n"
        "a.png,/pictures/b.png,,NIJI_JOURNEY,PORTRAIT,account-1,FAST|TURBO,yes,0,"
        'https://me.example/hook,"two, words",order-7,9,U1 V3,"{""n"": 1.5, ""t"": ""é""}"\n'
    )
    assert only_request(folder, text) == BlendRequest(
        images=(str(folder / "a.png"), "/pictures/b.png"),
        bot_type=BotType.NIJI_JOURNEY,
        dimensions=Dimensions.PORTRAIT,
        instance_id="account-1",
        modes=(Mode.FAST, Mode.TURBO),
        remix=True,
        remix_auto_considered=False,
        notify_hook="https://me.example/hook",
        state="two, words",
        custom_id="order-7",
        priority=9,
        then=(Action.U1, Action.V3),
        metadata={"n": 1.5, "t": "é"},
    )


def test_an_empty_cell_is_not_given(folder: Path) -> None:
    text = "image1,image2,bot_type,remix,priority,modes,metadata,custom_id\na,b,,, ,,,\n"
    assert only_request(folder, text) == BlendRequest(images=(f"{folder}/a", f"{folder}/b"))


def test_the_apis_own_spellings_are_columns_too(folder: Path) -> None:
    request = only_request(folder, "base64Array,botType,remixAutoConsidered\na|b,NIJI_JOURNEY,1\n")
    assert (request.bot_type, request.remix_auto_considered) == (BotType.NIJI_JOURNEY, True)
    assert request.images == (f"{folder}/a", f"{folder}/b")


@pytest.mark.parametrize(
    ("cell", "images"),
    [
        ("a.png|b.png| c.png ", ["a.png", "b.png", "c.png"]),
        ("a.png;b.png;", ["a.png", "b.png"]),
        ("a;1.png|b.png", ["a;1.png", "b.png"]),
        (f"{DATA_URL};{DATA_URL}", [DATA_URL, DATA_URL]),
        (f"{DIGEST}|{DATA_URL}|https://h.example/a.png", [DIGEST, DATA_URL, "https://h.example/a.png"]),
    ],
)
def test_pictures_in_one_cell(folder: Path, cell: str, images: list[str]) -> None:
    absolute = [str(folder / name) if name.endswith(".png") and ":" not in name else name for name in images]
    assert list(only_request(folder, f'images\n"{cell}"\n').images) == absolute


def test_pictures_are_taken_in_the_order_of_the_columns_and_gaps_are_skipped(folder: Path) -> None:
    request = only_request(folder, "image1,image2,image3,image4,image5\n/a,,/c,,/e\n")
    assert request.images == ("/a", "/c", "/e")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "image1;image2;custom_id\n/a;/b;x,y\n"),
        ("m.csv", '\ufeffimage1,image2,custom_id\r\n/a,/b,"x,y"\r\n'),
        ("m.csv", 'image1,image2,custom_id,,\n/a,/b,"x,y",,\n'),
        ("m.csv", 'image1,image2,custom_id\r/a,/b,"x,y"\r'),
        ("m.csv", ' image1 , image2 , custom_id \n /a , /b ,"x,y"'),
        ("M.TSV", "image1\timage2\tcustom_id\n/a\t/b\tx,y\n"),
    ],
    ids=["semicolons", "BOM, CRLF", "columns without a name", "CR", "blanks", "tabs"],
)
def test_what_spreadsheets_write(folder: Path, name: str, text: str) -> None:
    assert only_request(folder, text, name) == BlendRequest(images=("/a", "/b"), custom_id="x,y")


def test_line_ends_within_a_cell_are_kept(folder: Path) -> None:
    request = only_request(folder, 'image1,image2,state\r\n/a,/b,"two\r\nlines"\r\n')
    assert request.state == "two\r\nlines"


def test_lines_are_counted_as_an_editor_does(folder: Path) -> None:
    text = 'image1,image2,state\n/a,/b,"two\nlines"\n\n,,\n/a,/b,\n/a,,\n'
    path = written(folder, text)
    rows = list(read_manifest(path))
    assert [row.line for row in rows] == [2, 6, 7]
    assert rows[2] == RowProblem(7, "images: a blend takes 2 to 5 pictures, not 1")


def test_every_bad_row_is_named_at_once(folder: Path) -> None:
    text = (
        "images,dimensions,bot_type,modes,priority,remix,metadata,custom_id\n"
        "/a|/b,WIDE,DALL-E,SLOW,,,,\n"
        "/a|/b,,,,,,,fine\n"
        "/a|/b,,,,10,maybe,,\n"
        "/1|/2|/3|/4|/5|/6,,,,,,,\n"
        ",,,,,,,nothing\n"
        '/a|/b,,,,,,"{""a"": }",\n'
        "/a|/b,,,,,,[],\n"
        "/a|/b,,,,,,,one,two\n"
    )
    found = problems(folder, text)
    assert [problem.split(":")[0] for problem in found] == [f"line {n}" for n in (2, 4, 5, 6, 7, 8, 9)]
    for allowed in ("'PORTRAIT', 'SQUARE' or 'LANDSCAPE'", "'MID_JOURNEY' or 'NIJI_JOURNEY'", "'FAST' or 'TURBO'"):
        assert allowed in found[0]
    assert "priority" in found[1]
    assert "remix" in found[1]
    assert found[2] == "line 5: images: a blend takes 2 to 5 pictures, not 6"
    assert found[3] == "line 6: images: a blend takes 2 to 5 pictures, not 0"
    assert found[4] == "line 7: metadata is not JSON: Expecting value at column 7"
    assert found[5] == "line 8: metadata must be a JSON object: {…}"
    assert found[6].startswith("line 9: has 9 cells, but the header has 8")


def test_the_error_says_it_all_in_its_text_but_not_endlessly(folder: Path) -> None:
    path = written(folder, "image1,image2\n" + "/a,\n" * 7)
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, max_problems=2)
    assert str(caught.value).splitlines() == [
        f"{path}: 7 bad rows; mend the manifest, nothing was started",
        "  line 2: images: a blend takes 2 to 5 pictures, not 1",
        "  line 3: images: a blend takes 2 to 5 pictures, not 1",
        "  and 5 more",
    ]
    assert len(caught.value.problems) == 2, "what a long manifest makes it hold is bounded"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("image1,image2,dimension", ["unknown column 'dimension'", "did you mean dimensions?", "image1, image2"]),
        ("image1,image6", ["unknown column 'image6'", "did you mean image"]),
        ("image1,,image2", ["unknown column ''"]),
        ("image1,image2,image1", ["column image1 is given twice"]),
        ("images,botType,bot_type", ["column bot_type is given twice"]),
        ("images,base64Array", ["column images is given twice"]),
        ("images,image1", ["both images and image1"]),
        ("custom_id,state", ["no picture columns"]),
        ("\n", ["is empty"]),
        ('image1,"image2', ["its header", "never closed"]),
        (f"image1,{'x' * 5000}", [f"unknown column '{'x' * 60}…'"]),
    ],
)
def test_a_bad_header(folder: Path, header: str, words: list[str]) -> None:
    text = refusal(folder, f"{header}\n/a,/b\n")
    for word in words:
        assert word in text
    assert len(text) < 700


def test_broken_quotes_are_a_bad_row(folder: Path) -> None:
    found = problems(folder, 'image1,image2\n"/a"x,/b\n/a,/b\n"/a,/b\n/a,/b\n')
    assert found[0].startswith("line 2: is not CSV: ")
    assert found[1] == "line 4: is not CSV: a quote that opens here is never closed"


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
    path = written(folder, b"image1,image2\n/a,\n" + b"/a,/b\n" * 100_000 + b"\xff\xff\n")
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


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_a_line_without_end(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer.text, "MAX_LINE_CHARACTERS", 1000)
    assert "line 1 is over the limit of 1,000 characters" in refusal(folder, "x" * 5000, name)


def test_a_long_data_url_fits_in_a_cell(folder: Path) -> None:
    url = "data:image/png;base64," + "A" * 1_000_000
    assert only_request(folder, f'image1,image2\n"{url}",/b\n').images == (url, "/b")


def test_a_long_manifest_is_streamed(folder: Path) -> None:
    path = written(folder, "image1,image2,state\n" + f"/a,/b,{'x' * 200}\n" * 20_000)
    tracemalloc.start()
    try:
        assert sum(isinstance(row, Row) for row in read_manifest(path)) == 20_000
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
@settings(max_examples=200, deadline=None)
def test_arbitrary_text_is_refused_by_one_kind_of_error(name: str, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with suppress(ManifestError):
            for row in load_manifest(path):
                assert BlendRequest.model_validate_json(row.request.model_dump_json()) == row.request


# --- pictures -------------------------------------------------------------------------------------------------------


def png(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(file, "PNG")
    return file.getvalue()


class CountingStore(ImageStore):
    reads = 0

    def put_file(self, path: Path, *, root: Path | None = None) -> StoredImage:
        self.reads += 1
        return super().put_file(path, root=root)


@pytest.fixture
def images(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "store", max_bytes=10_000, max_pixels=1000)


def prepared(folder: Path, images: ImageStore, text: str, name: str = "m.csv") -> Iterator[Row | RowProblem]:
    return Pictures(images, Downloads(1)).prepare(read_manifest(written(folder, text, name)))


def test_pictures_are_stored_and_named_by_digest(folder: Path, images: CountingStore) -> None:
    for color in ("red", "green"):
        written(folder, png(color), f"{color}.png")
    url = "data:image/png;base64," + base64.b64encode(png("red")).decode()
    rows = list(prepared(folder, images, f'image1,image2\nred.png,green.png\n"{url}",red.png\n'))
    digests = [row.request.images for row in rows if isinstance(row, Row)]
    assert digests[0][0] == digests[1][0] == digests[1][1] != digests[0][1]
    assert all(is_digest(image) and images.find(image) for pair in digests for image in pair)
    again = list(prepared(folder, images, f"image1,image2\n{digests[0][0]},{digests[0][1]}\n"))
    assert [row.request.images for row in again if isinstance(row, Row)] == [digests[0]]


def test_every_picture_is_read_once_good_or_bad(folder: Path, images: CountingStore) -> None:
    written(folder, png("red"), "red.png")
    rows = list(prepared(folder, images, "image1,image2\n" + "red.png,none.png\n" * 10))
    assert images.reads == 2
    assert rows == [RowProblem(line, f"{folder}/none.png: no such file; check the name") for line in range(2, 12)]


def test_every_bad_picture_of_a_row_is_named_and_its_data_is_not(folder: Path, images: CountingStore) -> None:
    link = "http://127.0.0.1/a.png?key=SECRET"
    where = "the link leads to 127.0.0.1, which is not on the public internet"
    line = {"images": ["a.png", "a.png", "data:image/png;base64,SECRET", DIGEST, link]}
    (row,) = prepared(folder, images, json.dumps(line), "m.jsonl")
    assert isinstance(row, RowProblem)
    assert row.problem.split("; ")[::2] == [
        f"{folder}/a.png: no such file",
        "image 3: its base64 is broken",
        f"{DIGEST}: is not in the image store",
        f"{link.replace('SECRET', '***')}: the picture is not fetched: {where}",
    ]
    assert "SECRET" not in row.problem


def test_good_rows_come_first_and_then_what_is_wrong(folder: Path, images: CountingStore) -> None:
    text = "image1,image2,priority\nred.png,red.png,\nred.png,red.png,77\nred.png,none.png,\n"
    written(folder, png("red"), "red.png")
    rows = good_rows("m.csv", prepared(folder, images, text))
    assert next(rows).line == 2
    with pytest.raises(ManifestError) as caught:
        next(rows)
    assert [problem.line for problem in caught.value.problems] == [3, 4]


# --- a manifest of somebody else's: pictures cannot be taken from outside a root --------------------------------------

Service = Callable[[str], Row | RowProblem]


@pytest.fixture
def service(folder: Path, images: CountingStore) -> Service:
    """A folder with red.png, beside one with private.png; what comes of one row that names red.png and a picture."""
    written(folder, png("red"), "red.png")
    written(folder.parent / "elsewhere", png("black"), "private.png")

    def run(image: str) -> Row | RowProblem:
        path = written(folder, json.dumps({"images": ["red.png", image]}), "m.jsonl")
        (row,) = Pictures(images, Downloads(1), folder).prepare(read_manifest(path, folder))
        return row

    return run


@pytest.mark.parametrize(
    "image", ["red.png", "./red.png", "sub/../red.png", "sub/deep/blue.png", "link.png", "in/blue.png"]
)
def test_what_is_inside_of_the_root_is_taken(folder: Path, service: Service, image: str) -> None:
    written(folder / "sub", b"", "x")
    written(folder / "sub" / "deep", png("blue"), "blue.png")
    (folder / "link.png").symlink_to("sub/deep/blue.png")
    (folder / "in").symlink_to(folder / "sub" / "deep")
    assert isinstance(service(image), Row)


@pytest.mark.parametrize(
    "image",
    [
        "../elsewhere/private.png",
        "sub/../../elsewhere/private.png",
        "../campaign/../elsewhere/private.png",
        "link.png",
        "out/private.png",
        "chain/private.png",
        "../elsewhere/none.png",
        "..",
    ],
)
def test_nothing_outside_of_the_root_is_taken(folder: Path, service: Service, image: str) -> None:
    """One and the same answer, whether there is such a file or not; and no word about where the root is."""
    written(folder / "sub", b"", "x")
    (folder / "link.png").symlink_to(folder.parent / "elsewhere" / "private.png")
    (folder / "out").symlink_to("../elsewhere")
    (folder / "chain").symlink_to("sub/up")
    (folder / "sub" / "up").symlink_to("../../elsewhere")
    row = service(image)
    assert isinstance(row, RowProblem)
    assert "is outside the folder that pictures may come from" in row.problem
    assert str(folder.parent) not in row.problem


@pytest.mark.parametrize("image", ["/etc/passwd", "~/private.png", "~root/private.png", "//etc/passwd"])
def test_a_root_takes_relative_paths_only(folder: Path, service: Service, image: str) -> None:
    row = service(image)
    assert row == RowProblem(1, f"{image}: name pictures by paths that are relative to the manifest")
    inside = str(folder / "red.png")
    assert isinstance(service(inside), RowProblem), "also where it leads inside"


@pytest.mark.parametrize("image", ["none.png", "sub", "pipe", "a\0b", "loop", "red.png/x", "a" * 5000])
@pytest.mark.timeout(20)
def test_what_is_no_picture_inside_of_the_root(folder: Path, service: Service, image: str) -> None:
    written(folder / "sub", b"", "x")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    row = service(image)
    assert isinstance(row, RowProblem)
    assert str(folder.parent) not in row.problem


@pytest.mark.parametrize("swapped", ["sub", "sub/blue.png"])
def test_a_link_that_is_put_there_in_between_is_not_followed(
    folder: Path, service: Service, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: the path was checked, and is not open yet."""
    written(folder / "sub", png("blue"), "blue.png")
    written(folder.parent / "elsewhere", png("black"), "blue.png")
    checked = os.path.realpath

    def swap(path: str) -> str:
        real = checked(path)
        if str(path).endswith("blue.png"):
            (folder / swapped).rename(folder / "moved")
            (folder / swapped).symlink_to(folder.parent / "elsewhere" / ("" if swapped == "sub" else "blue.png"))
        return real

    monkeypatch.setattr(os.path, "realpath", swap)
    row = service("sub/blue.png")
    assert isinstance(row, RowProblem)
    assert "sub/blue.png: " in row.problem


def test_the_command_line_may_name_any_path(folder: Path, images: CountingStore) -> None:
    private = written(folder.parent / "elsewhere", png("black"), "private.png")
    (row,) = prepared(folder, images, f"image1,image2\n{private},../elsewhere/private.png\n")
    assert isinstance(row, Row)


def test_a_whole_manifest_with_a_root(folder: Path) -> None:
    path = written(folder, "image1,image2\n/a,b\nb,~c\nb,c\n")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, root=folder)
    assert [problem.line for problem in caught.value.problems] == [2, 3]
