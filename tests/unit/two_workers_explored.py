"""The explorer of `two_workers_world`: every state that can be reached, and whether each leads to an end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from jobs.job import Job, Status
from tests.unit.two_workers_world import State, Step, Violation, World


@dataclass
class Explored:
    """What was seen. `edge` holds the states from which no step was tried, since there were enough."""

    came_from: dict[State, tuple[State, str] | None]
    swept_from: dict[State, list[State]]
    edge: deque[State]
    steps: int = 0

    @property
    def states(self) -> int:
        return len(self.came_from)

    def trace(self, state: State) -> tuple[str, ...]:
        """The shortest way to the state."""
        trace: list[str] = []
        before = self.came_from[state]
        while before is not None:
            state, what = before
            trace.append(what)
            before = self.came_from[state]
        return tuple(reversed(trace))


def explore(world: World, enough: int | None = None) -> Explored:
    """Every state that can be reached, the nearest first; with `enough`, at least so many of them.

    Raises:
        Violation: a property does not hold; with the shortest trace.
    """
    start = world.start()
    explored = Explored({start: None}, {}, deque([start]))
    while explored.edge and (enough is None or explored.states < enough):
        state = explored.edge.popleft()
        try:
            for step in world.steps(state):
                _note(explored, state, step)
        except Violation as broken:
            raise Violation(broken.name, explored.trace(state)) from None
    _check_liveness(world, explored)
    return explored


def _note(explored: Explored, state: State, step: Step) -> None:
    explored.steps += 1
    after = _alike(step.state)
    if step.swept:
        explored.swept_from.setdefault(after, []).append(state)
    if after not in explored.came_from:
        explored.came_from[after] = (state, step.what)
        explored.edge.append(after)


def _alike(state: State) -> State:
    """The two workers are of one kind: which is which does not matter."""
    one, other = state.workers
    return state if one <= other else state._replace(workers=(other, one))


def _check_liveness(world: World, explored: Explored) -> None:
    """I1 and I7: from everywhere the sweep alone leads to an end, or back to where dispatch takes the job up."""
    led = {state for state in explored.came_from if _rests(world.jobs[state.job])} | set(explored.edge)
    edge = list(led)
    while edge:
        for before in explored.swept_from.get(edge.pop(), ()):
            if before not in led:
                led.add(before)
                edge.append(before)
    stuck = next((state for state in explored.came_from if state not in led), None)
    if stuck is not None:
        raise Violation("a job is stuck", explored.trace(stuck))


def _rests(job: Job) -> bool:
    return job.status.final or (job.status is Status.WAITING and job.due_at is not None)
