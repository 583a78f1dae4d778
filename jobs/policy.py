"""The numbers that the lifecycle decides by, and the two curves made from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.settings import OnQueued, Settings

# A job whose workers die this often in a row is taken to be the one that kills them.
MAX_LOST_CLAIMS = 3
# A worker that was lost is back after some seconds: the backoff of jobs that were lost twice begins further on.
LOST_AGAIN_HEAD_START = 2
# "No account" lasts longer than "no room": its backoff starts this many doublings further on.
NO_ACCOUNT_HEAD_START = 2
MAX_EXPONENT = 30
# Without callbacks a finished task is seen late; what waits at the API for its core takes it meanwhile.
WAITING_WITHOUT_CALLBACKS = 0.1


def full_jitter(exponent: int, base_seconds: float, cap_seconds: float, chance: float) -> float:
    """A backoff: any time up to the base doubled so often, or the cap; by a random number in [0, 1)."""
    return chance * min(cap_seconds, base_seconds * 2.0 ** min(exponent, MAX_EXPONENT))


@dataclass(frozen=True)
class Policy:
    """What the lifecycle needs to know of the settings; every duration in seconds."""

    on_queued: OnQueued = OnQueued.CONFIRM
    backoff_base_seconds: float = 2.0
    backoff_cap_seconds: float = 120.0
    resubmit_limit_seconds: float = 86400.0
    lease_seconds: float = 20.0
    poll_min_seconds: float = 2.0
    poll_max_seconds: float = 30.0
    silence_seconds: float = 0.0
    queued_patience_seconds: float = 1800.0
    missing_after_seconds: float = 600.0
    missing_absences: int = 3
    unsure_limit_seconds: float = 900.0
    task_limit_seconds: float = 21600.0
    collect_limit_seconds: float = 86400.0
    waiting_per_running: float = 0.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Policy:
        ours = ("silence_seconds", "waiting_per_running")
        same = {name: getattr(settings, name) for name in cls.__dataclass_fields__ if name not in ours}
        waiting = settings.waiting_per_running
        if waiting is None:
            waiting = 0.0 if settings.public_url else WAITING_WITHOUT_CALLBACKS
        silence = settings.silence_seconds if settings.public_url else 0.0
        return cls(silence_seconds=silence, waiting_per_running=waiting, **same)

    def backoff_seconds(self, backoffs: int, chance: float) -> float:
        """Exponential backoff with full jitter and a cap.

        Args:
            backoffs: how many backoffs in a row came before.
            chance: a random number in [0, 1).

        See "Exponential Backoff And Jitter" (AWS Architecture Blog): full jitter spreads a herd best.

        >>> Policy(backoff_base_seconds=2, backoff_cap_seconds=60).backoff_seconds(3, 0.5)
        8.0
        >>> Policy(backoff_base_seconds=2, backoff_cap_seconds=60).backoff_seconds(9, 0.5)
        30.0
        """
        return full_jitter(backoffs, self.backoff_base_seconds, self.backoff_cap_seconds, chance)

    def poll_seconds(self, age_seconds: float) -> float:
        """How long to wait before asking about a task again: a quarter of its age, within the limits.

        Where callbacks are expected, asking only serves the jobs that fell silent.

        >>> Policy(poll_min_seconds=2, poll_max_seconds=30).poll_seconds(60)
        15.0
        """
        return max(self.silence_seconds, min(self.poll_max_seconds, max(self.poll_min_seconds, age_seconds / 4)))
