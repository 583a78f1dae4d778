"""Flow: how many jobs may be at the API at once, found by watching what becomes of them. Pure.

The API does not say how many tasks it can work on, and that changes as its accounts come and go. What can be seen is
how many of our tasks it works on (they left its queue), and how many it lets wait. So:

- `slots` is how many of our jobs it can work on. A finished one is replaced at once: no core waits for a decision.
- While all slots are held and nothing waits there, they are raised by a step, and the step is doubled whenever that
  proved right. Found full, they are raised by one now and then, to see, and from then on in smaller steps.
- A job that waits there takes no slot, so that it does not keep another from a core that is free elsewhere (servers
  bind what waits to an account). But whenever another one has to wait, the slots are lowered by one; and while more
  wait than is bearable, none goes. Those that wait on and on while nothing is worked on are left out of account.
- Where jobs are turned away, the slots end below what was at the API, and stay there for a while.
- While everything is turned away, jobs go one by one, and less and less often.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobs.policy import Policy
from jobs.slots.found import CEILING_ANSWERS, START_SLOTS, Flow, Reading

# Two looks that say the same are so far apart.
LOOK_SECONDS = 1.0
# Found full, one more goes after so many answers, or after as many as there are slots: at most one in so many is a 22.
PROBE_ANSWERS = 10
# Once it was found full, no raise is by more than such a share: what is too much has to wait.
CAREFUL_SHARE = 1 / 4
# A task is seen to be worked on a moment after it was answered. So many of the slots may be in that moment; fewer while
# the steps are large, since some servers say 1 to the first task that waits at each account.
UNSEEN_SHARE = 1 / 8
UNSEEN_SHARE_AT_FIRST = 1 / 12
# Jobs that found every core taken wait for a while, on some account. So many of them, for each that is worked on, or
# one, do not keep others from going.
STRAY_SHARE = 1 / 10
# Where no callbacks come, each task was asked about so long after it could be for the first time.
ASKED_SECONDS = 2.0
# Where the API turned a job away, it is tried once more after CEILING_ANSWERS, and after twice as many each next time.
MAX_CEILING_ANSWERS = 200
# Jobs that wait for so long while nothing of ours is worked on wait for something else than a core that is free.
STUCK_SECONDS = 60.0
# What was found so long ago says nothing about now.
STALE_SECONDS = 3600.0


def look(flow: Flow, seen: Reading, policy: Policy, limit: int | None = None) -> Flow:
    """What is known after a look. The same flow when there is nothing new.

    Args:
        flow: what was found so far.
        seen: how things stand.
        policy: `waiting_per_running`, and the backoff's base and cap.
        limit: a number of slots that was set; None: it is to be found.
    """
    flow = flow.by(seen.now)
    if limit is None:
        flow = _with_strays(flow, seen)
        seen = _but_strays(flow, seen)
    if seen.refused > flow.refused_seen or seen.unsent > flow.unsent_seen:
        return _turned_away(flow, seen, policy, limit)
    if flow.trouble and seen.taken > flow.taken_seen:
        return _looked(flow, seen).but(trouble=0, closed_until=None)
    if limit is not None:
        return flow
    if flow.strays and not seen.working:  # one goes ahead, unless it is still to be judged whether a raise was right
        return _disproved(flow, seen) if flow.proving and seen.waiting else flow
    flow = _fresh(flow, seen)
    if flow.proving and flow.answered_at is None and seen.taken >= flow.judge_at_taken:
        flow = flow.but(answered_at=seen.now)
    too_many = seen.waiting - _wanted(seen, policy)
    if flow.proving and too_many > 0:
        return _disproved(flow, seen)
    if (more := min(too_many, seen.waiting - flow.waiting_seen)) > 0:
        slots = max(1, flow.slots - more)
        return _moved(flow, seen, slots, f"{seen.waiting} wait at the API, which works on {seen.working}").but(step=1)
    flow = flow.but(waiting_seen=seen.waiting) if seen.waiting != flow.waiting_seen else flow
    if flow.looked_at is not None and seen.now < flow.looked_at + timedelta(seconds=LOOK_SECONDS):
        return flow
    return _full(flow, seen, policy) if seen.inside >= flow.slots else flow


def room(flow: Flow, seen: Reading, policy: Policy, limit: int | None = None) -> int:
    """How many jobs may go now.

    Args:
        flow: what was found.
        seen: how things stand.
        policy: `waiting_per_running`.
        limit: a number of slots that was set, whatever waits; None: those that were found.
    """
    if flow.closed_until is not None and seen.now < flow.closed_until:
        return 0
    if limit is not None:
        free = limit - seen.held - seen.elsewhere
    else:
        seen = _but_strays(flow, seen)
        most = _wanted(seen, policy) if flow.proving else _bearable(seen, policy)
        free = flow.slots - seen.inside if seen.waiting <= most else 0
        if flow.strays:
            free = min(free, 1 + 2 * seen.working - seen.inside)
    return max(0, min(free, 1 - seen.on_the_way) if flow.trouble else free)


def _but_strays(flow: Flow, seen: Reading) -> Reading:
    strays = min(flow.strays, seen.waiting)
    return replace(seen, held=seen.held - strays, waiting=seen.waiting - strays) if strays else seen


def _with_strays(flow: Flow, seen: Reading) -> Flow:
    """Those that wait for long while nothing is worked on, as at an account that is gone, would keep all others waiting
    for as long as they do. So others go, one at first, to see.
    """
    if flow.strays > seen.waiting:
        flow = flow.but(strays=seen.waiting)
    if seen.working or seen.on_the_way or seen.waiting - flow.strays <= 1:
        return flow if flow.stuck_since is None else flow.but(stuck_since=None)
    if flow.stuck_since is None:
        return flow.but(stuck_since=seen.now)
    if seen.now < flow.stuck_since + timedelta(seconds=STUCK_SECONDS):
        return flow
    return flow.but(strays=seen.waiting, stuck_since=None, waiting_seen=0, step=1, proving=False)


def _fresh(flow: Flow, seen: Reading) -> Flow:
    """What was found, unless that was long ago."""
    stale = flow.looked_at is not None and seen.now > flow.looked_at + timedelta(seconds=STALE_SECONDS)
    if not stale or seen.held > START_SLOTS or flow.slots <= START_SLOTS:
        return flow
    counts = {
        "judge_at_taken": seen.taken + START_SLOTS,
        "taken_seen": seen.taken,
        "refused_seen": seen.refused,
        "unsent_seen": seen.unsent,
    }
    return _moved(Flow(**counts), seen, START_SLOTS, "the slots were not used for an hour")


def _turned_away(flow: Flow, seen: Reading, policy: Policy, limit: int | None) -> Flow:
    """Lower the slots to what the API has; and where it took none since, go on more and more slowly."""
    kept = _looked(flow, seen)
    if (refused := seen.refused - flow.refused_seen) > 0 and flow.trouble <= 1 and limit is None:
        kept = _ceiled(kept, seen, refused)
    if seen.taken > flow.taken_seen:
        return kept.but(trouble=0, closed_until=None)
    if flow.trouble and seen.on_the_way:
        return kept  # the others of the same moment
    pause = policy.backoff_seconds(flow.trouble - 1, 1.0) if flow.trouble else 0.0
    return kept.but(trouble=flow.trouble + 1, closed_until=seen.now + timedelta(seconds=pause))


def _ceiled(flow: Flow, seen: Reading, refused: int) -> Flow:
    slots = max(1, flow.slots - refused)
    again = flow.ceiling is None  # else another of the same moment
    return _moved(flow, seen, slots, "the API had no room for another task").but(
        step=1,
        proving=False,
        ceiling=slots,
        ceiling_answers=min(MAX_CEILING_ANSWERS, flow.ceiling_answers * 2) if again else flow.ceiling_answers,
        ceiling_until_taken=seen.taken + flow.ceiling_answers,
    )


def _disproved(flow: Flow, seen: Reading) -> Flow:
    """The last raise was too much: some of its jobs wait."""
    if flow.step > 1 and seen.on_the_way > max(1, flow.step // 4):
        return flow  # nobody knows yet how many
    before = flow.slots - flow.step
    slots = before if flow.step == 1 else max(before, min(flow.slots - 1, seen.inside))
    return _moved(flow, seen, slots, f"full: {seen.waiting} wait at the API").but(step=1, proving=False)


def _full(flow: Flow, seen: Reading, policy: Policy) -> Flow:
    """Every slot is held."""
    wanted = _wanted(seen, policy)
    looked = _looked(flow, seen)
    if seen.waiting > wanted:
        return looked  # strays
    if seen.cores is not None and seen.cores > flow.slots and seen.cores != flow.cores_tried:
        why = f"the API's accounts have {seen.cores} cores"
        return _raise(looked.but(cores_tried=seen.cores), seen, seen.cores - flow.slots, why)
    if flow.proving and not _known(flow, seen, policy):
        return looked.but(found=flow.found or _doubtful(flow, seen, policy))
    if flow.proving and not seen.waiting:
        return _proved(looked, seen)
    looked = looked.but(found=flow.found or seen.waiting > 0)
    if seen.waiting < wanted:
        return _raise(looked, seen, wanted - seen.waiting, f"{wanted} may wait at the API")
    if seen.taken >= flow.probe_at_taken:
        return _raise(looked, seen, 1, "to see whether there is room for more")
    return looked.but(step=1, proving=False)


def _proved(flow: Flow, seen: Reading) -> Flow:
    """The last raise was right, so the next is twice as large."""
    step = flow.step * 2
    if flow.found:
        step = min(step, max(1, int(flow.slots * CAREFUL_SHARE)))
    if flow.step > 1:  # by chance one more may find a core between two tasks; several hardly do
        flow = flow.but(ceiling_answers=CEILING_ANSWERS)
    return _raise(flow, seen, step, "all that is at the API is worked on")


def _known(flow: Flow, seen: Reading, policy: Policy) -> bool:
    """Whether it can be told what became of the jobs of the last raise."""
    if flow.answered_at is None:
        return False
    if policy.silence_seconds:  # callbacks tell at once what is worked on
        return seen.unseen <= seen.working * (UNSEEN_SHARE if flow.found else UNSEEN_SHARE_AT_FIRST)
    return seen.now >= flow.answered_at + timedelta(seconds=policy.poll_min_seconds + ASKED_SECONDS)


def _doubtful(flow: Flow, seen: Reading, policy: Policy) -> bool:
    """Whether tasks were answered so long ago, and are not seen to be worked on, that they may wait in spite of a 1.

    Where no callbacks come it takes longer to be seen, and is known then.
    """
    if not policy.silence_seconds or flow.answered_at is None:
        return False
    return seen.now > flow.answered_at + timedelta(seconds=2 * LOOK_SECONDS)


def _wanted(seen: Reading, policy: Policy) -> int:
    """How many should wait at the API."""
    return round(seen.working * policy.waiting_per_running)


def _bearable(seen: Reading, policy: Policy) -> int:
    """How many may wait there without keeping others from going."""
    return _wanted(seen, policy) + max(1, int(seen.working * STRAY_SHARE))


def _raise(flow: Flow, seen: Reading, step: int, why: str) -> Flow:
    if flow.ceiling is not None and seen.taken < flow.ceiling_until_taken:
        step = min(step, flow.ceiling - flow.slots)
    elif flow.ceiling is not None and flow.slots >= flow.ceiling:
        step, flow = 1, flow.but(ceiling=None)
    if step <= 0:
        return flow.but(step=1, proving=False)
    judge_at_taken = seen.taken + seen.on_the_way + step
    return _moved(flow, seen, flow.slots + step, why).but(
        step=step, proving=True, judge_at_taken=judge_at_taken, answered_at=None
    )


def _moved(flow: Flow, seen: Reading, slots: int, why: str) -> Flow:
    moved = _looked(flow, seen).but(slots=slots, probe_at_taken=seen.taken + max(PROBE_ANSWERS, slots))
    if slots == flow.slots:
        return moved
    return moved.but(found=flow.found or slots < flow.slots, moved_at=seen.now, why=why)


def _looked(flow: Flow, seen: Reading) -> Flow:
    return flow.but(
        looked_at=seen.now,
        waiting_seen=seen.waiting,
        taken_seen=seen.taken,
        refused_seen=seen.refused,
        unsent_seen=seen.unsent,
    )
