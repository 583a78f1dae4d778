"""Schedules on a real server: each run is done once, whoever comes and goes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import RowProblem, ScheduleNotFound
from jobs.job import Job, Status
from jobs.schedule import Outcome, Overlap, Ran, Schedule
from jobs.schedules import KEPT_RUNS, Run, Schedules
from jobs.server import to_ms, to_text
from jobs.settings import Settings
from ops.health import UnhealthyError, scheduler_health
from producer import Producer
from producer.manifests.manifest import Row
from producer.pictures import Pictures
from producer.scheduler import Scheduler
from tests.integration.commands import succeed
from tests.integration.workbench import wait_for


@pytest.fixture
def manifest(tmp_path: Path, pictures: list[str]) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("custom_id,image1,image2\na," + ",".join(pictures) + "\nb," + ",".join(reversed(pictures)) + "\n")
    return path


@pytest.fixture
def schedules(blends: Producer) -> Iterator[Schedules]:
    yield blends.schedules
    for one in blends.schedules.all():
        blends.schedules.remove(one.name)
    client = blends.schedules._redis
    client.delete(blends.store.keys.schedules_in_hand)


def put(schedules: Schedules, manifest: Path | str, name: str, due: datetime | None = None, **fields: Any) -> Schedule:
    """A schedule of every day; `due` is when its next run is put down."""
    made = Schedule.parse(name=name, manifest=str(manifest), **({"every_seconds": 86400.0} | fields))
    schedules.put(made)
    if due is not None:
        schedules._redis.zadd(schedules._keys.schedules_next, {name: to_ms(due)})
    return made


def outcomes(schedules: Schedules, name: str) -> list[Outcome]:
    return [ran.outcome for ran in schedules.runs(name)]


def test_a_run_is_a_campaign_of_its_own(blends: Producer, schedules: Schedules, manifest: Path) -> None:
    due = schedules.now()
    one = put(schedules, manifest, "once", due)
    scheduler = Scheduler(blends, schedules)
    assert (scheduler.step(), scheduler.step()) == (True, False)
    (ran,) = schedules.runs("once")
    assert (ran.outcome, ran.jobs, ran.campaign) == (Outcome.ENQUEUED, 2, one.campaign_of(_ms(due)))
    assert [job.request.custom_id for job in blends.campaign(ran.campaign or "").jobs()] == ["a", "b"]


def _ms(moment: datetime) -> datetime:
    """Times are kept in milliseconds."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def test_of_many_schedulers_one_gets_each_run(blends: Producer, schedules: Schedules, manifest: Path) -> None:
    put(schedules, manifest, "raced", schedules.now())
    taken: list[Run] = []
    start = threading.Barrier(6)

    def take() -> None:
        start.wait()
        if (run := schedules.take()) is not None:
            taken.append(run)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_whoever_dies_with_a_run_in_hand_loses_it_and_nothing_is_enqueued_twice(
    blends: Producer, schedules: Schedules, manifest: Path
) -> None:
    put(schedules, manifest, "died", schedules.now())
    run = schedules.take()
    assert run is not None
    first = Scheduler(blends, schedules).perform(schedules.get("died"), run)  # and then it dies, before saying so
    assert first is not None
    assert not Scheduler(blends, schedules).step(), "it may still be at work"
    schedules._redis.zadd(schedules._keys.schedules_in_hand, {run.name: 0})  # as if its time had passed
    assert Scheduler(blends, schedules).step()
    assert (schedules.runs("died"), blends.store.counts(first.campaign)) == ([first], {"waiting": 2})
    assert not Scheduler(blends, schedules).step()


def test_a_run_that_comes_too_late_is_left_out(blends: Producer, schedules: Schedules, manifest: Path) -> None:
    put(schedules, manifest, "late", schedules.now() - timedelta(minutes=5), catch_up_seconds=60)
    Scheduler(blends, schedules).step()
    assert outcomes(schedules, "late") == [Outcome.MISSED]


def test_what_was_begun_in_time_is_finished_however_late(
    blends: Producer, schedules: Schedules, manifest: Path
) -> None:
    """And though jobs of the run before were tried again meanwhile."""
    one = put(schedules, manifest, "begun", catch_up_seconds=1)
    before, run = (Run("begun", _ms(schedules.now() - timedelta(hours=hours))) for hours in (2, 1))
    request = Scheduler(blends, schedules)._requests(manifest)[0]
    for each in (before, run):
        blends.enqueue(request, campaign=one.campaign_of(each.at))
    schedules.done(before, Ran(at=before.at, outcome=Outcome.ENQUEUED, campaign=one.campaign_of(before.at)))
    ran = Scheduler(blends, schedules).perform(one, run)
    assert ran is not None
    assert (ran.outcome, ran.jobs) == (Outcome.ENQUEUED, 2)


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        (Overlap.SKIP, [Outcome.ENQUEUED, Outcome.SKIPPED]),
        (Overlap.ALLOW, [Outcome.ENQUEUED, Outcome.ENQUEUED]),
        (Overlap.QUEUE, [Outcome.ENQUEUED]),
    ],
)
def test_while_the_run_before_is_unfinished(
    blends: Producer, schedules: Schedules, manifest: Path, overlap: Overlap, expected: list[Outcome]
) -> None:
    name, scheduler = f"overlap-{overlap}", Scheduler(blends, schedules)
    put(schedules, manifest, name, schedules.now() - timedelta(seconds=20), overlap=overlap)
    scheduler.step()
    schedules._redis.zadd(schedules._keys.schedules_next, {name: to_ms(schedules.now() - timedelta(seconds=10))})
    scheduler.step()
    assert outcomes(schedules, name) == expected


def test_a_queued_run_begins_when_the_one_before_is_finished(
    blends: Producer, schedules: Schedules, manifest: Path
) -> None:
    one = put(schedules, manifest, "queued", overlap="queue")
    first, second, third = (Run("queued", _ms(schedules.now() - timedelta(seconds=s))) for s in (30, 20, 10))
    scheduler = Scheduler(blends, schedules)
    done = scheduler.perform(one, first)
    assert done is not None
    schedules.done(first, done)
    schedules._redis.zadd(schedules._keys.schedules_in_hand, {second.name: 0, third.name: 0})
    assert scheduler.perform(one, second) is None
    for job in blends.campaign(done.campaign or "").jobs():
        blends.cancel(job)
    assert scheduler.perform(one, third) is None, "the second goes first"
    assert scheduler.perform(one, second) is not None


def test_runs_that_wait_leave_others_their_turn(blends: Producer, schedules: Schedules, manifest: Path) -> None:
    """Thousands may, after a weekend of one a minute; each is looked at again as soon as all of them were."""
    one = put(schedules, manifest, "crowded", overlap="queue")
    put(schedules, manifest, "prompt", due := schedules.now() - timedelta(minutes=1))
    for seconds in range(10):
        run = Run(one.name, _ms(due - timedelta(hours=1, seconds=seconds)))
        late = due + timedelta(seconds=seconds - 5)
        schedules._redis.zadd(schedules._keys.schedules_in_hand, {run.name: to_ms(late)})
    taken = [found.schedule for _ in range(10) if (found := schedules.take())]
    assert taken.index("prompt") == 5, "in the order in which they were to be seen to"


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE])
def test_a_run_waits_until_it_is_known_what_becomes_of_the_one_before(
    blends: Producer, schedules: Schedules, manifest: Path, overlap: Overlap
) -> None:
    """Somebody may be at it, or was killed at it: half of its jobs may be enqueued, and no list of runs has it."""
    one = put(schedules, manifest, f"known-{overlap}", schedules.now() - timedelta(seconds=20), overlap=overlap)
    scheduler = Scheduler(blends, schedules)
    first = schedules.take()
    assert first is not None
    schedules._redis.zadd(schedules._keys.schedules_next, {one.name: to_ms(schedules.now())})
    assert scheduler.step()
    assert outcomes(schedules, one.name) == []
    done = scheduler.perform(one, first)
    assert done is not None
    schedules.done(first, done)
    schedules._redis.zadd(schedules._keys.schedules_in_hand, {_other(schedules, first): to_ms(schedules.now())})
    scheduler.step()
    left_out = [Outcome.SKIPPED] if overlap is Overlap.SKIP else []
    assert outcomes(schedules, one.name) == [Outcome.ENQUEUED, *left_out]


def test_however_many_runs_were_left_out_the_one_before_is_not_forgotten(
    blends: Producer, schedules: Schedules, manifest: Path
) -> None:
    put(schedules, manifest, "long", schedules.now() - timedelta(seconds=3000))
    scheduler = Scheduler(blends, schedules)
    for number in range(2 * KEPT_RUNS + 2):
        assert scheduler.step()
        due = schedules.now() - timedelta(seconds=2000 - number)
        schedules._redis.zadd(schedules._keys.schedules_next, {"long": to_ms(due)})
    runs = schedules.runs("long")
    assert [ran.outcome for ran in runs] == [Outcome.ENQUEUED] + [Outcome.SKIPPED] * (KEPT_RUNS - 1)
    assert runs == sorted(runs, key=lambda ran: ran.at), "the oldest first"


def test_the_run_before_is_the_latest_one_and_not_one_that_was_kept_before(
    schedules: Schedules, manifest: Path
) -> None:
    one = put(schedules, manifest, "latest")
    begin = _ms(schedules.now())
    enqueued = (0, KEPT_RUNS)
    for number in range(2 * KEPT_RUNS + 2):
        at = begin + timedelta(seconds=number)
        outcome = Outcome.ENQUEUED if number in enqueued else Outcome.SKIPPED
        schedules.done(Run(one.name, at), Ran(at=at, outcome=outcome))
    found = [ran.at for ran in schedules.runs(one.name) if ran.outcome is Outcome.ENQUEUED]
    assert begin + timedelta(seconds=KEPT_RUNS) in found


def _other(schedules: Schedules, run: Run) -> str:
    names: Any = schedules._redis.zrange(schedules._keys.schedules_in_hand, 0, -1)
    (name,) = {to_text(name) for name in names} - {run.name}
    return name


def test_a_run_that_waits_longer_than_the_catch_up_is_not_missed(
    blends: Producer, schedules: Schedules, manifest: Path
) -> None:
    one = put(schedules, manifest, "patient", overlap="queue", catch_up_seconds=60)
    run = Run(one.name, _ms(schedules.now() - timedelta(hours=1)))
    schedules._redis.zadd(schedules._keys.schedules_in_hand, {run.name: to_ms(schedules.now())})
    assert Scheduler(blends, schedules).step(), "it was looked at a moment ago"
    assert outcomes(schedules, one.name) == [Outcome.ENQUEUED]
    schedules._redis.zadd(
        schedules._keys.schedules_in_hand,
        {Run(one.name, run.at + timedelta(seconds=1)).name: to_ms(schedules.now() - timedelta(minutes=2))},
    )
    assert Scheduler(blends, schedules).step()
    assert outcomes(schedules, one.name) == [Outcome.ENQUEUED, Outcome.MISSED]


def test_without_any_catch_up_what_comes_in_time_is_done(
    blends: Producer, schedules: Schedules, manifest: Path
) -> None:
    put(schedules, manifest, "prompt", schedules.now(), catch_up_seconds=0)
    Scheduler(blends, schedules).step()
    assert outcomes(schedules, "prompt") == [Outcome.ENQUEUED]


def test_a_run_stays_in_hand_as_long_as_somebody_works_on_it(
    blends: Producer, schedules: Schedules, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One picture may take minutes: from the web, or from a slow disk."""
    put(schedules, manifest, "slow", schedules.now())
    run = schedules.take()
    assert run is not None

    def held_until() -> float:
        found: Any = schedules._redis.zscore(schedules._keys.schedules_in_hand, run.name)
        return float(found)

    def slow(_: Pictures, row: Row) -> RowProblem:
        before = held_until()
        wait_for(lambda: held_until() > before, lambda: "nobody holds it")
        return RowProblem(row.line, "and then it is bad")

    monkeypatch.setattr(Pictures, "stored", slow)
    monkeypatch.setattr("producer.scheduler.HOLD_EVERY_SECONDS", 0.02)
    ran = Scheduler(blends, schedules).perform(schedules.get("slow"), run)
    assert ran is not None
    assert "and then it is bad" in ran.message


@pytest.mark.parametrize("text", ["custom_id,image1,image2\na,gone.png,gone2.png\n", "no,columns\n"])
def test_a_bad_manifest_fails_its_run_and_not_the_next(
    blends: Producer, schedules: Schedules, manifest: Path, text: str
) -> None:
    good = manifest.read_text()
    manifest.write_text(text)
    put(schedules, manifest, "bad", schedules.now())
    Scheduler(blends, schedules).step()
    (ran,) = schedules.runs("bad")
    assert (ran.outcome, str(manifest) in ran.message) == (Outcome.FAILED, True)
    assert blends.store.counts(ran.campaign) == {}
    manifest.write_text(good)
    schedules._redis.zadd(schedules._keys.schedules_next, {"bad": to_ms(schedules.now())})
    Scheduler(blends, schedules).step()
    assert outcomes(schedules, "bad") == [Outcome.FAILED, Outcome.ENQUEUED]


def test_what_nobody_expected_fails_its_run_and_holds_up_no_other(
    blends: Producer, schedules: Schedules, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*_: object) -> None:
        raise KeyError

    put(schedules, manifest, "unexpected", schedules.now())
    scheduler = Scheduler(blends, schedules)
    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "_requests", unexpected)
        assert scheduler.step()
    (ran,) = schedules.runs("unexpected")
    assert (ran.outcome, ran.message) == (Outcome.FAILED, "unexpected KeyError; the scheduler's log tells more")
    assert not scheduler.step(), "it is over"


@pytest.mark.parametrize("odd", [{"timezone": "Mars/Olympus"}, {"from": "a newer version"}])
def test_a_schedule_that_cannot_be_read_holds_up_no_other(
    call: Any, blends: Producer, schedules: Schedules, manifest: Path, odd: dict[str, str]
) -> None:
    """It ended one scheduler after the other, and `blendq up` with them; nor could it be removed."""
    begun = put(schedules, manifest, "begun")
    schedules._redis.zadd(schedules._keys.schedules_in_hand, {Run("begun", _ms(schedules.now())).name: 0})
    put(schedules, manifest, "other", schedules.now() - timedelta(seconds=1))
    for one in (begun, put(schedules, manifest, "odd", schedules.now() - timedelta(seconds=2))):
        doc = json.dumps(json.loads(one.model_dump_json()) | odd)
        schedules._redis.hset(schedules._keys.schedules, one.name, doc)
    leaving = threading.Event()
    scheduler = threading.Thread(target=Scheduler(blends, schedules).run, args=[leaving])
    scheduler.start()
    try:
        wait_for(lambda: bool(schedules.runs("other")), lambda: "the other does not run")
    finally:
        leaving.set()
        scheduler.join()
    assert outcomes(schedules, "other") == [Outcome.ENQUEUED]
    listed = call("schedule", "list")
    assert listed.code == 1
    assert "cannot be read here: " in listed.err
    for name in ("begun", "odd"):
        assert f"schedule {name!r} cannot be read here: " in call("schedule", "show", name).err
        assert call("schedule", "remove", name).code == 0
    assert [one.name for one in schedules.all()] == ["other"]


def test_a_pattern_is_looked_up_at_each_run(
    blends: Producer, schedules: Schedules, manifest: Path, pictures: list[str]
) -> None:
    put(schedules, manifest.parent / "*.csv", "pattern", schedules.now())
    (manifest.parent / "more.csv").write_text(f"image1,image2,image3\n{pictures[0]},{pictures[1]},{pictures[0]}\n")
    Scheduler(blends, schedules).step()
    assert schedules.runs("pattern")[-1].jobs == 3
    put(schedules, manifest.parent / "none-*.csv", "pattern", schedules.now(), overlap="allow")
    Scheduler(blends, schedules).step()
    assert "there is no such file now" in schedules.runs("pattern")[-1].message


def test_a_removed_or_paused_schedule_does_not_run(blends: Producer, schedules: Schedules, manifest: Path) -> None:
    put(schedules, manifest, "removed", schedules.now())
    schedules.remove("removed")
    put(schedules, manifest, "paused", paused=True)
    assert not Scheduler(blends, schedules).step()
    with pytest.raises(ScheduleNotFound, match="schedule list"):
        schedules.get("removed")


def test_a_scheduler_that_never_looked_is_not_healthy(tmp_path: Path) -> None:
    with pytest.raises(UnhealthyError, match="is the scheduler running"):
        scheduler_health(Settings(data_dir=tmp_path))


# --- the command --------------------------------------------------------------------------------------------------


def test_the_life_of_a_schedule_at_the_command_line(
    call: Any, blends: Producer, schedules: Schedules, manifest: Path
) -> None:
    added = call("schedule", "add", "nightly", str(manifest), "--cron", "0 3 * * *", "--timezone", "Europe/Berlin")
    assert (added.code, "nightly: added; next: " in added.out) == (0, True)
    listed = call("schedule", "list", "--json").json
    assert [(one["name"], one["cron"], len(one["next_times"])) for one in listed] == [("nightly", "0 3 * * *", 3)]
    ran = call("schedule", "run", "nightly", "--json").json
    assert (ran["outcome"], ran["jobs"]) == ("enqueued", 2)
    shown = call("schedule", "show", "nightly")
    assert ran["campaign"] in shown.out
    assert "paused" in call("schedule", "pause", "nightly").out
    assert call("schedule", "show", "nightly", "--json").json["next_times"] == []
    assert "it goes on; next: " in call("schedule", "resume", "nightly").out
    assert call("schedule", "remove", "nightly").out == "nightly: removed\n"
    assert "there are no schedules yet" in call("schedule", "list").err
    for job in blends.campaign(ran["campaign"]).jobs():
        succeed(blends, job.id)
        assert blends.get(job).status is Status.SUCCEEDED


@pytest.mark.parametrize("enqueued", [0, 1])
def test_a_run_that_a_person_interrupts_says_what_became_of_it(
    call: Any, blends: Producer, schedules: Schedules, manifest: Path, monkeypatch: pytest.MonkeyPatch, enqueued: int
) -> None:
    """The same command again is another run, in which what was enqueued would be paid for once more."""
    name = f"hasty-{enqueued}"
    put(schedules, manifest, name)
    enqueue_many = Producer.enqueue_many

    def some(*args: Any, **kwargs: Any) -> Iterator[Job]:
        yield from islice(enqueue_many(*args, **kwargs), enqueued)
        raise KeyboardInterrupt

    monkeypatch.setattr(Producer, "enqueue_many", some)
    done = call("schedule", "run", name)
    campaigns = [campaign for campaign, _ in blends.store.campaigns() if campaign.startswith(name)]
    assert done.code == 130
    assert ("the same command again goes on" in done.err) == (not enqueued)
    assert [(ran.outcome, ran.campaign) for ran in schedules.runs(name)] == [
        (Outcome.FAILED, campaign) for campaign in campaigns
    ]
    for campaign in campaigns:
        assert f"goes on as campaign {campaign}" in done.out
        assert f"blendq campaign cancel {campaign} --data-dir" in done.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["add", "x", "m.csv"], 2, "either a cron expression (--cron) or a number of seconds"),
        (["add", "x", "m.csv", "--cron", "often"], 2, "'often'"),
        (["add", "a/b", "m.csv", "--every", "5"], 2, "letters, digits"),
        (["show", "none"], 1, "there is no schedule 'none'"),
        (["run", "none"], 1, "there is no schedule 'none'"),
        (["pause", "none"], 1, "there is no schedule 'none'"),
        (["remove", "none"], 1, "there is no schedule 'none'"),
    ],
)
def test_orders_that_cannot_be(call: Any, words: list[str], code: int, said: str) -> None:
    done = call("schedule", *words)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert said in done.err


def test_two_schedulers_one_killed_lose_and_double_no_run(
    blends: Producer, schedules: Schedules, manifest: Path
) -> None:
    """Every second, while one of two processes is killed in between."""
    command = [sys.executable, "-m", "ops.cli", "scheduler", "--data-dir", str(blends.settings.data_dir)]
    running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        put(schedules, manifest, "often", every_seconds=1.0, overlap="allow")
        wait_for(lambda: len(schedules.runs("often")) >= 3, lambda: "no runs")
        assert re.search(r"the last look at the schedules was \d s ago", scheduler_health(blends.settings))
        running[0].kill()
        killed_at = schedules.now()
        wait_for(lambda: len([r for r in schedules.runs("often") if r.at > killed_at]) >= 4, lambda: "it stopped")
        schedules.put(schedules.get("often").model_copy(update={"paused": True}))
        give_up_at = time.monotonic() + 45  # what the killed one had in hand comes back after 30 s
        while _missing(schedules) and time.monotonic() < give_up_at:
            time.sleep(0.2)
    finally:
        for process in running:
            process.terminate()
            process.wait(20)
    times = Counter(ran.at for ran in schedules.runs("often"))
    assert (_missing(schedules), set(times.values())) == ([], {1})
    assert all(ran.outcome is Outcome.ENQUEUED and ran.jobs == 2 for ran in schedules.runs("often"))


def _missing(schedules: Schedules) -> list[datetime]:
    """Seconds between the first and the last run at which none was."""
    found = sorted(ran.at for ran in schedules.runs("often"))
    count = round((found[-1] - found[0]).total_seconds())
    return [at for n in range(count) if (at := found[0] + timedelta(seconds=n)) not in found]
