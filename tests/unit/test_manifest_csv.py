"""CSV manifests: what is accepted, and how each bad row and header is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.actions import Action
from jobs.errors import ManifestError, RowProblem
from jobs.request import BlendRequest, BotType, Dimensions, Mode
from producer.manifests.manifest import load_manifest, read_manifest
from tests.unit.manifests import DATA_URL, DIGEST, only_request, problems, refusal, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "campaign"


def test_every_column(folder: Path) -> None:
    text = (
        "image1,image2,image3,bot_type,dimensions,instance_id,modes,upstream,remix,remix_auto_considered,"
        "notify_hook,state,custom_id,priority,then,metadata\n"
        "a.png,/pictures/b.png,,NIJI_JOURNEY,PORTRAIT,account-1,FAST|TURBO,spare,yes,0,"
        'https://me.example/hook,"two, words",order-7,9,U1 V3,"{""n"": 1.5, ""t"": ""é""}"\n'
    )
    assert only_request(folder, text) == BlendRequest(
        images=(str(folder / "a.png"), "/pictures/b.png"),
        bot_type=BotType.NIJI_JOURNEY,
        dimensions=Dimensions.PORTRAIT,
        instance_id="account-1",
        modes=(Mode.FAST, Mode.TURBO),
        upstream="spare",
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
