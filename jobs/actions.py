"""Action: what the API can do with a finished 2×2 grid."""

from __future__ import annotations

from enum import StrEnum


class ActionKind(StrEnum):
    """As `POST /mj/submit/change` spells them."""

    UPSCALE = "UPSCALE"
    VARIATION = "VARIATION"
    REROLL = "REROLL"


class Action(StrEnum):
    """U1 to U4: one quarter as a picture of its own; V1 to V4: a grid of variations of it; R: the whole grid anew.

    Quarters are counted as they are read: upper left, upper right, lower left, lower right.
    """

    U1 = "U1"
    U2 = "U2"
    U3 = "U3"
    U4 = "U4"
    V1 = "V1"
    V2 = "V2"
    V3 = "V3"
    V4 = "V4"
    R = "R"

    @property
    def kind(self) -> ActionKind:
        return _KINDS[self.value[0]]

    @property
    def quarter(self) -> int | None:
        """1 to 4; None for a reroll, which is of the whole grid."""
        return int(self.value[1:]) if len(self.value) > 1 else None


_KINDS = {"U": ActionKind.UPSCALE, "V": ActionKind.VARIATION, "R": ActionKind.REROLL}
