"""Doors: the ways to the APIs, each with a number of slots of its own.

A door is an upstream by its name; or, for jobs that only some of its accounts may take, the name, a slash, and which
(`backup/FAST`). Where one API is configured and nothing else is said, all jobs go by `default`.
"""

from __future__ import annotations

DEFAULT = "default"
# A regular expression: what an upstream may be called.
UPSTREAM_NAME = "^[a-z0-9][a-z0-9_-]{0,31}$"


def named(door: str, what: str) -> str:
    """What is counted at a door, or claimed at an upstream; plain at the default one, as it ever was."""
    return what if door == DEFAULT else f"{door}:{what}"


def upstream_of(door: str) -> str:
    """The name of the upstream that the door leads to."""
    return door.partition("/")[0]
