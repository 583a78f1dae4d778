"""What is written to Redis: that what is quick to write is what would be written otherwise."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.actions import Action
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.lifecycle import Moment, advance
from jobs.policy import Policy
from jobs.records import Known
from jobs.request import BlendRequest, Dimensions, Mode
from jobs.writing.creation import Creation
from jobs.writing.docs import to_doc
from jobs.writing.tallies import tally
from jobs.writing.write import Write
from tests.unit.lifecycle_world import START, events_for, new_job

requests = st.builds(
    BlendRequest,
    images=st.lists(st.text(min_size=1), min_size=2, max_size=5),
    dimensions=st.sampled_from(Dimensions),
    modes=st.lists(st.sampled_from(Mode), max_size=2),
    custom_id=st.none() | st.sampled_from(["row-1", '{"id":""', "-987654321", 'ü"\\\n']),
    state=st.none() | st.text(max_size=9),
    then=st.lists(st.sampled_from(Action), max_size=2),
    metadata=st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
)
jobs = st.builds(
    Job,
    id=st.from_regex(r"job_[a-z2-7]{24}", fullmatch=True),
    campaign=st.shared(st.sampled_from(["default", "summer"])),
    idempotency_key=st.none() | st.text(min_size=1, max_size=5),
    request=requests,
    created_at=st.just(START),
    order=st.integers(0, 1 << 53),
    due_at=st.just(START),
)


@pytest.mark.no_cover
@given(st.lists(jobs, min_size=1, max_size=4))
def test_records_of_new_jobs_are_what_any_record_is(new: list[Job]) -> None:
    of_jobs = Creation.of(Keys(), new, None, []).args[-6 * len(new) :]
    assert list(of_jobs[3::6]) == list(map(to_doc, new))


@pytest.mark.no_cover
@given(st.data())
def test_what_was_counted_already_is_what_would_be_counted(data: st.DataObject) -> None:
    """A write goes on from the counts of the one before; a stale one would make them drift."""
    known = Known(new_job(), "1")
    for day in range(data.draw(st.integers(1, 12))):
        moment = Moment(START + timedelta(days=day), 0.5, Policy())
        changes = [(event, advance(known.job, event, moment)) for event in events_for(known.job)]
        event, change = data.draw(st.sampled_from([(event, change) for event, change in changes if change]))
        write, anew = (
            Write.of(Keys(), read, change, event, moment.now, "name", tell=False)
            for read in (known, replace(known, counts=None))
        )
        assert write.args == anew.args
        known = write.written
        assert known.counts == tally(known.job)


def test_names_of_writes_differ_in_a_forked_process() -> None:
    """A repeated name would pass for the same write."""
    code = (
        "import os; from jobs.writing.names import new_name; child = os.fork(); "
        "os.write(1, f'{new_name()} '.encode()); child and os.waitpid(child, 0)"  # in one piece each
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert len(printed) == len(set(printed)) == 2
    assert set(map(len, printed)) == {8}


@pytest.mark.parametrize(
    "other",
    [
        {"campaign": "b"},
        {"status": Status.RELEASED},
        {"created_at": START - timedelta(seconds=1)},
        {"due_at": START + timedelta(seconds=1)},
    ],
)
def test_jobs_that_differ_in_more_are_not_created_together(other: dict[str, Any]) -> None:
    jobs = [new_job(campaign="a"), new_job(campaign="a").but(**other)]
    for some in (jobs, jobs[::-1]):
        with pytest.raises(ValueError, match="created waiting"):
            Creation.of(Keys(), some, None, [])
