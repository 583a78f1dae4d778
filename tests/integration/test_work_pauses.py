"""When submitting stops for all jobs, and how it goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs import events
from jobs.epoch import Epoch
from jobs.errors import EpochLost
from jobs.job import Status
from jobs.keys import Keys
from jobs.server import connect
from jobs.slots.circuit import Circuit
from tests.integration.stored import add
from tests.integration.workbench import Open, wait_for
from worker import submit as submit_room
from worker.dispatch import dispatch
from worker.submit import submit


@pytest.mark.parametrize(
    ("fault", "kind"), [("refuse_key", "key"), ("quota", "quota")], ids=["wrong key", "out of quota"]
)
def test_what_only_a_person_can_mend_pauses_submitting(open_bench: Open, fault: str, kind: str) -> None:
    bench = open_bench("gateway")
    bench.faults(**{fault: True})
    bench.add()
    assert bench.submit().status is Status.WAITING
    pause = bench.pause
    assert pause is not None
    assert pause.kind == kind
    bench.add("job_2")
    assert bench.submit("job_2").claims == 0, "nobody else is sent into the same refusal"
    bench.faults(**{fault: False})
    bench.store.circuit.resume()
    assert bench.work_until(Status.SUCCEEDED).status is Status.SUCCEEDED
    assert bench.work_until(Status.SUCCEEDED, job_id="job_2").claims == 1
    assert len(bench.accepted()) == 2


def test_a_key_that_is_refused_while_only_asking_pauses_submitting(
    open_bench: Open, caplog: pytest.LogCaptureFixture
) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.submit()
    bench.faults(refuse_key=True)
    wait_for(lambda: bool(bench.sweep() and bench.pause), lambda: str(bench.history()))
    pause = bench.pause
    assert pause is not None
    assert (pause.kind, "api_key" in pause.message) == ("key", True)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_after_a_pause_one_job_goes_ahead(open_bench: Open) -> None:
    bench = open_bench("gateway", slots=3)
    bench.faults(quota=True)
    for number in range(3):
        bench.add(f"job_{number}")
    assert dispatch(bench.context) == 3
    submit(bench.context, "job_0")
    for number in (1, 2):
        bench.store.apply(f"job_{number}", events.Cancel())
        bench.store.apply(f"job_{number}", events.Retry())
    bench.context.store.gate._redis.delete(bench.store.keys.door().pause)  # as if its time had passed
    wait_for(lambda: dispatch(bench.context) == 1, lambda: "nobody went ahead")
    assert bench.store.throttle.slots_held() == 1
    bench.faults(quota=False)
    for number in range(3):
        bench.work_until(Status.SUCCEEDED, job_id=f"job_{number}")
    assert not bench.store.circuit.read(["default"])["default"].suspect
    assert len(bench.accepted()) == 3


@pytest.fixture
def circuit(redis_url: str, keys: Keys) -> Iterator[Circuit]:
    with connect(redis_url) as client:
        yield Circuit(client, keys)


def test_that_it_is_trusted_is_told_once_until_there_is_a_doubt(circuit: Circuit, keys: Keys) -> None:
    """A round trip a second, and not one for each job."""
    circuit.trust()
    circuit._redis.set(keys.door().suspect, "quota")  # by another process
    circuit.trust()
    assert circuit.read(["default"])["default"].suspect, "it was told a moment ago"
    circuit.trust()
    assert not circuit.read(["default"])["default"].suspect, "the doubt has been read here since"
    assert [circuit.count_no_account(), circuit.count_no_account()] == [1, 2]
    circuit.trust()
    assert circuit.count_no_account() == 1
    circuit.trust()
    circuit.pause("quota", "empty", 60)
    circuit.trust()
    assert not circuit.read(["default"])["default"].suspect


def test_no_account_for_long_pauses_submitting_and_says_so_once(
    open_bench: Open, caplog: pytest.LogCaptureFixture
) -> None:
    bench = open_bench("plus", backoff_base_seconds=0.001, backoff_cap_seconds=0.002)
    bench.faults(no_account=True)
    bench.add()
    wait_for(lambda: bool(bench.submit() and bench.pause), lambda: str(bench.history()))
    pause = bench.pause
    assert pause is not None
    assert (pause.kind, bench.store.get("job_1").claims) == ("no_account", submit_room.NO_ACCOUNTS_IN_A_ROW)
    assert sum("submitting pauses" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("others_wait", [True, False])
def test_no_account_for_those_that_ask_for_one_pauses_none_that_do_not(open_bench: Open, others_wait: bool) -> None:
    """A job that asks for an account which is gone must not stop an API that works."""
    bench = open_bench("plus", slots=1, backoff_base_seconds=0.001, backoff_cap_seconds=0.002)
    bench.add("job_1", instance_id="gone")

    def refused() -> int:
        return bench.submit("job_1").claims

    wait_for(lambda: refused() == submit_room.NO_ACCOUNTS_IN_A_ROW - 1, lambda: str(bench.history()))
    assert bench.pause is None
    if others_wait:
        add(bench.store, "other", campaign="other")
        bench.store.turns.pause("other", "person", "one after the other")  # else it might have the slot
    wait_for(lambda: refused() >= submit_room.NO_ACCOUNTS_IN_A_ROW, lambda: str(bench.history()))
    assert bool(bench.pause) == (not others_wait)
    if others_wait:
        bench.store.turns.resume("other")
        bench.store.apply("job_1", events.Cancel())
        assert bench.submit("other").claims == 1


def test_a_redis_that_lost_its_records_stops_submitting_until_a_person_decides(open_bench: Open) -> None:
    bench = open_bench("plus")
    bench.add()
    bench.work_until(Status.SUCCEEDED)
    client, keys = bench.store.gate._redis, bench.store.keys
    client.delete(keys.epoch)  # what a flush would leave
    bench.add("job_2")
    assert bench.submit("job_2").status is Status.WAITING
    pause = bench.store.gate.paused()
    assert pause is not None
    assert (pause.kind, "blendq resume --accept-loss" in pause.message) == ("epoch", True)
    restarted = Epoch(client, keys, bench.context.settings.data_dir)
    with pytest.raises(EpochLost):
        restarted.verify()
    restarted.accept()  # as `blendq resume --accept-loss` does, beside the worker that runs
    bench.store.gate.resume()
    assert bench.work_until(Status.SUCCEEDED, job_id="job_2").submissions == 1
    Epoch(client, keys, bench.context.settings.data_dir).verify()


def test_a_full_disk_stops_submitting(open_bench: Open) -> None:
    bench = open_bench("plus", min_free_disk_percent=99.9)
    bench.add()
    assert bench.submit().status is Status.WAITING
    pause = bench.store.gate.paused()
    assert pause is not None
    assert pause.kind == "disk"
