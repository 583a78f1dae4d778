"""What is kept packed: read again as it was, and so is what earlier versions kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.events import LeaseEnd
from jobs.history import MAX_DETAIL_CHARACTERS, HistoryEntry, line_of
from jobs.job import Status
from jobs.packing import LINES, RECORDS, Packing, unpacked
from jobs.writing.docs import from_doc, to_doc
from tests.unit.lifecycle_world import PICTURE, START, new_job

both = pytest.mark.parametrize("packing", [RECORDS, LINES])
anything = st.dictionaries(st.text(), st.text() | st.integers() | st.none()).map(json.dumps)


@both
@given(text=anything)
def test_what_is_packed_is_read_as_it_was(packing: Packing, text: str) -> None:
    assert unpacked(packing.pack(text.encode())).decode() == text
    assert unpacked(text.encode()).decode() == text, "an earlier version kept it plain"


@both
def test_long_texts_are_packed_too(packing: Packing) -> None:
    text = json.dumps([{"at": number, "ü": "x" * (number % 50)} for number in range(2000)])
    assert unpacked(packing.pack(text.encode())).decode() == text


def test_packed_by_the_first_version_of_these_words() -> None:
    """The words are never changed: what was packed with them could not be read any more."""
    record = bytes.fromhex(
        "01434a698604125722850091389328044ab144a46650324e294dc52b8f27760c280444c42e52a6b780c7ab850172c442e255df50a9b61600"
    )
    line = bytes.fromhex("0243661b180251888181151845017552d75e030a81522d00")
    assert from_doc(record) == new_job(picture=PICTURE)
    assert HistoryEntry.model_validate_json(unpacked(line)).event == "collected"


@given(name=st.text(max_size=9))
def test_what_was_packed_before_leaves_nothing_behind(name: str) -> None:
    """All texts of a kind are packed by copies of one packer."""
    first = RECORDS.pack(to_doc(new_job(campaign=name)).encode())
    RECORDS.pack(b"x" * 5000)
    assert RECORDS.pack(to_doc(new_job(campaign=name)).encode()) == first


@given(st.sampled_from(Status), st.sampled_from(Status), st.text(max_size=2 * MAX_DETAIL_CHARACTERS))
def test_a_line_says_what_happened(before: Status, after: Status, detail: str) -> None:
    line = line_of(LeaseEnd(), new_job(status=before), new_job(status=after), detail, START)
    entry = HistoryEntry.model_validate_json(line)
    assert entry == HistoryEntry(
        at=START, event="lease_end", before=before, after=after, detail=detail[:MAX_DETAIL_CHARACTERS]
    )
    assert line.decode() == entry.model_dump_json(exclude_defaults=True), "no byte more than it needs"


def test_a_record_takes_less_than_half() -> None:
    doc = to_doc(new_job(picture=PICTURE, campaign="summer"))
    assert len(RECORDS.pack(doc.encode())) < len(doc) / 2
