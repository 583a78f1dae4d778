"""YAML manifests: both forms, each row with its line, and nothing that plain JSON could not say."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

import producer.manifests.yaml_rows
from jobs.errors import ManifestError
from jobs.request import BlendRequest, BotType, Dimensions
from producer.manifests.manifest import Row, load_manifest, read_manifest


def written(folder: Path, text: str) -> Path:
    path = folder / "m.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        load_manifest(written(folder, text))
    return str(caught.value)


@pytest.mark.parametrize("value", ["!!bool maybe", "!!timestamp soon", "!!int ''", "!!int x", "!!float x"])
def test_a_value_that_is_not_what_its_tag_says_is_a_bad_row(tmp_path: Path, value: str) -> None:
    said = refusal(tmp_path, f"- images: [/a, /b]\n- {{images: [/a, /b], metadata: {{n: {value}}}}}\n")
    assert "1 bad row; " in said
    assert "line 2: has " in said


def test_a_list_of_rows(tmp_path: Path) -> None:
    text = "# pairs\n- images: [a.png, /b.png]\n  priority: 3\n\n- custom_id: no\n  images:\n    - /a\n    - /b\n"
    assert load_manifest(written(tmp_path, text)) == [
        Row(2, BlendRequest(images=(f"{tmp_path}/a.png", "/b.png"), priority=3)),
        Row(5, BlendRequest(images=("/a", "/b"), custom_id="no")),
    ]


def test_defaults_and_jobs(tmp_path: Path) -> None:
    text = (
        "defaults: {botType: NIJI_JOURNEY, dimensions: PORTRAIT, metadata: {at: 12:30, day: 2030-01-31}}\n"
        "jobs:\n- {images: [/a, /b]}\n- {images: [/a, /c], bot_type: MID_JOURNEY, dimensions: }\n"
    )
    first, second = (row.request for row in load_manifest(written(tmp_path, text)))
    assert (first.bot_type, first.dimensions) == (BotType.NIJI_JOURNEY, Dimensions.PORTRAIT)
    assert (second.bot_type, second.dimensions) == (BotType.MID_JOURNEY, Dimensions.PORTRAIT)
    assert first.metadata == {"at": "12:30", "day": "2030-01-31"}, "text is text"


def test_what_the_file_says_wins_over_the_callers_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "defaults: {priority: 5}\njobs:\n- images: [/a, /b]\n- {images: [/a, /c], priority: 7}\n")
    rows = read_manifest(path, defaults={"priority": 1, "bot_type": "NIJI_JOURNEY"})
    found = [(row.request.priority, row.request.bot_type) for row in rows if isinstance(row, Row)]
    assert found == [(5, BotType.NIJI_JOURNEY), (7, BotType.NIJI_JOURNEY)]


def test_bad_rows_are_named_by_their_lines(tmp_path: Path) -> None:
    text = (
        "- images: [/a, /b]\n- images: [/a]\n- just words\n- {images: [/a, /b], dimension: SQUARE}\n"
        "-\n  images: [/a, /b]\n  metadata: {n: 1e999}\n- images: [/a, /b]\n  state: !!binary aGk=\n- {1: 2}\n"
    )
    assert [line.strip() for line in refusal(tmp_path, text).splitlines()[1:]] == [
        "line 2: images: a blend takes 2 to 5 pictures, not 1",
        "line 3: must be fields with values, such as images: [a.png, b.png]",
        "line 4: unknown field 'dimension' (did you mean dimensions?)",
        "line 6: has a number that JSON cannot keep (too large)",
        "line 8: has something that JSON does not know; use text, numbers and lists",
        "line 10: a field's name must be text",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rows"),
        ("[]", "has no rows"),
        ("jobs: []", "has no rows"),
        ("words", "must be a list of rows"),
        ("rows: []", "line 1: must be a list of rows, or defaults and then jobs"),
        ("defaults: {}\njobs: words", "line 2: must be a list"),
        ("defaults: {}", "has no jobs"),
        ("defaults: {prio: 1}\njobs: []", "line 1: defaults: unknown field 'prio' (did you mean priority?)"),
        ("jobs:\n- images: [/a, /b]\ndefaults: {}", "put defaults before them"),
        ("- images: [/a, /b]\n---\n- images: [/a, /b]\n", "line 2: a second document"),
        ("- images: [/a, /b]\n  x: [\n", "is not YAML"),
        ("- &x [a, b]\n- *x\n", "line 2: has an alias"),
        ("- " + "[" * 100_000, "m.yaml: "),
        ("- !!python/object/apply:os.system [echo]", "line 1: must be fields"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


def test_a_few_lines_that_would_be_gigabytes(tmp_path: Path) -> None:
    bomb = "- &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"- &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(12)
    )
    assert "has an alias" in refusal(tmp_path, bomb)


def test_a_limit_on_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer.manifests.yaml_rows, "MAX_YAML_CHARACTERS", 1000)
    assert "over the limit of 1,000 characters" in refusal(tmp_path, "- images: [/a, /b]\n" * 100)


@pytest.mark.no_cover
def test_rows_are_streamed(tmp_path: Path) -> None:
    path = written(tmp_path, ("- images: [/a, /b]\n  state: " + "x" * 200 + "\n") * 3000)
    tracemalloc.start()
    try:
        assert sum(isinstance(row, Row) for row in read_manifest(path)) == 3000
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 2
    finally:
        tracemalloc.stop()
