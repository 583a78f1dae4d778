"""A world for the flow: an API with accounts, jobs without end, and a clock that is turned by hand."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from jobs.policy import Policy
from jobs.slots.flow import look, room
from jobs.slots.found import Flow, Reading

BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Manner:
    """How the API behaves, and how long things take, in seconds."""

    task: tuple[float, float] = (2.0, 4.0)
    upload: float = 0.08
    news: float = 0.03  # from a change there to our record of it
    first_is_1: bool = False  # of those that wait at an account the first is told 1, too
    says_22: bool = True
    calls_back: bool = True  # else it is asked, every `ask`
    ask: float = 2.0


@dataclass
class Account:
    cores: int
    places: int
    running: int = 0
    queue: deque[int] = field(default_factory=deque)
    open: bool = True


class World:
    """Runs `look` and `room` against it. `now` is in seconds.

    A job is "way", "there" (answered, not seen yet), "waits" (known to), "works" (seen to), or gone.
    """

    def __init__(self, manner: Manner, policy: Policy, accounts: int, cores: int, places: int, seed: int = 1) -> None:
        self.manner = manner
        self.policy = replace(policy, silence_seconds=45.0 if manner.calls_back else 0.0)
        self.accounts = [Account(cores, places) for _ in range(accounts)]
        self.cores, self.places = cores, places
        self.chance = random.Random(seed)
        self.now = 0.0
        self.flow = Flow()
        self.jobs: dict[int, str] = {}
        self.started: dict[int, bool] = {}
        self.answers: Counter[str] = Counter()
        self.answers_before: Counter[str] = Counter()
        self.down = False
        self.busy_seconds = self.core_seconds = 0.0
        self.supply: int | None = None  # None: without end
        self.trace: list[tuple[float, int, int, int, int]] = []
        self._ids = itertools.count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self.after(0.0, self._tick)

    # The clock -------------------------------------------------------------------------------------------------

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + seconds, next(self._ids), call))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            at, _, call = heapq.heappop(self._heap)
            self._pass(at)
            call()
        self._pass(end)

    def _pass(self, until: float) -> None:
        self.busy_seconds += (until - self.now) * self.busy
        self.core_seconds += (until - self.now) * self.capacity
        self.now = until

    def forget(self) -> None:
        """Measure from now on."""
        self.busy_seconds = self.core_seconds = 0.0
        self.answers_before = Counter(self.answers)

    def share(self, *codes: str) -> float:
        """Of the answers since `forget`, those with these codes."""
        since = {code: count - self.answers_before[code] for code, count in self.answers.items()}
        return sum(since.get(code, 0) for code in codes) / max(1, sum(since.values()))

    @property
    def busy_share(self) -> float:
        return self.busy_seconds / self.core_seconds

    @property
    def capacity(self) -> int:
        return sum(account.cores for account in self.accounts if account.open)

    @property
    def busy(self) -> int:
        return sum(account.running for account in self.accounts if account.open)

    @property
    def queued(self) -> int:
        return sum(len(account.queue) for account in self.accounts)

    @property
    def held(self) -> int:
        return len(self.jobs)

    # The API ---------------------------------------------------------------------------------------------------

    def resize(self, accounts: int) -> None:
        while len(self.accounts) < accounts:
            self.accounts.append(Account(self.cores, self.places))
        for number, account in enumerate(self.accounts):
            account.open = number < accounts
            if account.open:
                self._start(account)

    def _arrive(self, job: int) -> None:
        if self.down:
            self._turn_away(job, "unsent")
            return
        account = min(
            (one for one in self.accounts if one.open),
            key=lambda one: (one.running >= one.cores or bool(one.queue), len(one.queue), one.running),
        )
        if account.running < account.cores and not account.queue:
            account.running += 1
            self.answers["1"] += 1
            self.jobs[job] = "there"
            self._begin(account, job)
        elif len(account.queue) < account.places:
            account.queue.append(job)
            told = self.manner.says_22 and not (self.manner.first_is_1 and len(account.queue) == 1)
            self.answers["22" if told else "1"] += 1
            self.jobs[job] = "waits" if told else "there"
            if not self.manner.calls_back:
                self.after(self.manner.ask, lambda: self._asked(job, self.manner.ask))
        else:
            self._turn_away(job, "23")
        self.wake()

    def _turn_away(self, job: int, code: str) -> None:
        self.answers[code] += 1
        del self.jobs[job]
        if self.supply is not None:
            self.supply += 1
        self.wake()

    def _begin(self, account: Account, job: int) -> None:
        self.started[job] = True
        if self.manner.calls_back:
            self.after(self.manner.news, lambda: self._seen(job))
        elif self.jobs[job] == "there":
            self.after(self.manner.ask, lambda: self._asked(job, self.manner.ask))
        self.after(self.chance.uniform(*self.manner.task), lambda: self._end(account, job))

    def _end(self, account: Account, job: int) -> None:
        account.running -= 1
        self.started[job] = False
        if self.manner.calls_back:
            self.after(self.manner.news, lambda: self._gone(job))
        self._start(account)

    def _start(self, account: Account) -> None:
        while account.queue and account.running < account.cores:
            account.running += 1
            self._begin(account, account.queue.popleft())

    # blendq ----------------------------------------------------------------------------------------------------

    def _seen(self, job: int) -> None:
        if job in self.jobs:
            self.jobs[job] = "works"

    def _gone(self, job: int) -> None:
        self.jobs.pop(job, None)
        self.wake()

    def _asked(self, job: int, age: float) -> None:
        if job not in self.jobs:
            return
        if self.started.get(job) is False:
            self._gone(job)
            return
        self.jobs[job] = "works" if self.started.get(job) else "waits"
        pause = max(self.manner.ask, min(30.0, age / 4))
        self.after(pause, lambda: self._asked(job, age + pause))

    def _tick(self) -> None:
        self.dispatch()
        self.after(1.0, self._tick)

    def wake(self) -> None:
        self.after(0.02, self.dispatch)

    def reading(self) -> Reading:
        states = Counter(self.jobs.values())
        return Reading(
            now=BEGINNING + timedelta(seconds=self.now),
            held=len(self.jobs),
            on_the_way=states["way"],
            working=states["works"],
            waiting=states["waits"],
            taken=self.answers["1"] + self.answers["22"],
            refused=self.answers["23"],
            unsent=self.answers["unsent"],
        )

    def dispatch(self) -> None:
        while True:
            seen = self.reading()
            self.flow = look(self.flow, seen, self.policy)
            free = room(self.flow, seen, self.policy)
            if self.supply is not None:
                free = min(free, self.supply)
                self.supply -= free
            self.trace.append((self.now, self.held, self.busy, self.capacity, self.flow.slots))
            if free <= 0:
                return
            for _ in range(free):
                job = next(self._ids)
                self.jobs[job] = "way"
                self.after(self.manner.upload, lambda job=job: self._arrive(job))  # type: ignore[misc]
