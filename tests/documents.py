"""README.md and docs/: their examples, as tests find them.

A block of code that no test can run (it wants containers, or a real key) says so in a comment right before it, or for
all that follow in its document; what such a block names is checked all the same:

    <!-- not run by the tests: containers -->
    <!-- none of what follows is run by the tests: containers -->
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ONE, ALL = "<!-- not run by the tests: ", "<!-- none of what follows is run by the tests: "
_BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
# What comes before `blendq`'s own words, however it is called.
_CALLED = re.compile(r"(?:.*/)?blendq$")
_IN_A_CONTAINER = ("cli", "worker")


@dataclass(frozen=True)
class Block:
    """One block of code. `line` is where it begins."""

    path: Path
    line: int
    language: str
    text: str
    run: bool

    @property
    def name(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        before = text[: match.start()]
        marked = before.rstrip("\n").rpartition("\n")[2].startswith(ONE) or ALL in before
        found.append(Block(path, before.count("\n") + 1, match[1], match[2], run=not marked))
    return found


def spans(path: Path) -> list[str]:
    """The code within sentences."""
    return _SPAN.findall(_BLOCK.sub("", path.read_text(encoding="utf-8")))


def commands(shell: str) -> Iterator[list[str]]:
    """The words of each simple command in some lines of shell, without comments."""
    for line in shell.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("|&;<>"):
                yield words
                words = []
            else:
                words.append(word)
        yield words


def blendq_words(command: list[str]) -> list[str] | None:
    """What `blendq` is given by a command; None when it is about something else."""
    for number, word in enumerate(command):
        if _CALLED.match(word):
            return command[number + 1 :]
    if command[:3] == ["docker", "compose", "run"] and "--entrypoint" not in command:
        service = next((number for number, word in enumerate(command) if word in _IN_A_CONTAINER), None)
        return None if service is None else command[service + 1 :]
    return None
