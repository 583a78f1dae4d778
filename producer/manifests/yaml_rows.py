"""YAML manifests: a list of rows, or `defaults` and then `jobs`; read row by row, whatever the length.

Only what JSON could say as well is understood: text is text (`no`, `12:30` and `2030-01-31` too), and there are no
aliases, whose few lines can stand for gigabytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yaml import MappingNode, Node, YAMLError, events
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.cyaml import CParser
from yaml.resolver import BaseResolver

from jobs.errors import InvalidRequest, ManifestError
from producer.manifests.rows import Found, check_names, with_defaults

# Text is parsed at some megabytes a second; whoever writes more than this by a program can write JSONL.
MAX_YAML_CHARACTERS = 64 << 20
_TAG = "tag:yaml.org,2002:"


class _Stream:
    """Lines as a file of so many characters at most."""

    def __init__(self, path: Path, lines: Iterator[str]) -> None:
        self._path = path
        self._lines = lines
        self._characters = 0

    def read(self, _size: int) -> str:
        line = next(self._lines, "")
        self._characters += len(line)
        if self._characters > MAX_YAML_CHARACTERS:
            limit = f"the limit of {MAX_YAML_CHARACTERS:,} characters for YAML"
            raise ManifestError(f"{self._path}: is over {limit}; write JSONL, one row a line")
        return line


class _Reader(Composer, CParser, SafeConstructor, BaseResolver):  # type: ignore[misc]  # PyYAML is untyped
    """libyaml parses, and nodes are composed one row at a time."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own way)

    def __init__(self, stream: _Stream) -> None:
        CParser.__init__(self, stream)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        BaseResolver.__init__(self)

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        if self.check_event(events.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise ManifestError(f"line {line}: has an alias (*name); write out what it stands for")
        return Composer.compose_node(self, parent, index)


for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", list("-+0123456789")),
):
    _Reader.add_implicit_resolver(_TAG + tag, re.compile(f"^(?:{pattern})$"), first)


def yaml_fields(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Found]]:
    """
    Raises:
        ManifestError: the file is no YAML, or neither of the two forms.
    """
    try:
        reader = _Reader(_Stream(path, lines))
        yield from _rows(reader)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ManifestError(f"{path}: {where}is not YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise ManifestError(f"{path}: is nested too deeply") from error
    except ManifestError as error:
        text = str(error)
        raise error if text.startswith(str(path)) else ManifestError(f"{path}: {text}") from error


def _rows(reader: _Reader) -> Iterator[tuple[int, Found]]:
    reader.get_event()  # the stream's start
    if reader.check_event(events.StreamEndEvent):
        return
    reader.get_event()  # the document's start
    defaults: dict[str, object] = {}
    if reader.check_event(events.MappingStartEvent):
        defaults = _head(reader)
    elif not reader.check_event(events.SequenceStartEvent):
        raise ManifestError("must be a list of rows, or defaults and then jobs")
    reader.get_event()
    while not reader.check_event(events.SequenceEndEvent):
        node = reader.compose_node(None, None)
        yield node.start_mark.line + 1, _fields(reader, node, defaults)
    reader.get_event()
    if not reader.check_event(events.DocumentEndEvent, events.MappingEndEvent):
        raise ManifestError("something follows the jobs; put defaults before them, and nothing after")
    while not reader.check_event(events.DocumentEndEvent):
        reader.get_event()
    reader.get_event()
    if not reader.check_event(events.StreamEndEvent):
        raise ManifestError(f"line {reader.peek_event().start_mark.line + 1}: a second document begins; keep one list")


def _head(reader: _Reader) -> dict[str, object]:
    """What stands before the jobs."""
    reader.get_event()  # the mapping's start
    defaults: dict[str, object] = {}
    while not reader.check_event(events.MappingEndEvent):
        key = reader.compose_node(None, None)
        line = key.start_mark.line + 1
        if key.value == "jobs" and reader.check_event(events.SequenceStartEvent):
            return defaults
        if key.value != "defaults":
            raise ManifestError(f"line {line}: must be a list of rows, or defaults and then jobs (a list)")
        try:
            defaults = _plain(reader, reader.compose_node(None, None))
            check_names(defaults)
        except InvalidRequest as error:
            raise ManifestError(f"line {line}: defaults: {error}") from error
    raise ManifestError("has no jobs; give them as a list")


def _fields(reader: _Reader, node: Node, defaults: dict[str, object]) -> Found:
    try:
        return with_defaults(_plain(reader, node), defaults)
    except InvalidRequest as error:
        return error


def _plain(reader: _Reader, node: Node) -> dict[str, object]:
    """A mapping as JSON could have it; what is given without a value is not given."""
    if not isinstance(node, MappingNode):
        raise InvalidRequest("must be fields with values, such as images: [a.png, b.png]")
    try:
        value = reader.construct_document(node)
        json.dumps(value, allow_nan=False)
    except (YAMLError, TypeError, LookupError, AttributeError) as error:  # PyYAML's for `!!bool maybe`, and the like
        raise InvalidRequest("has something that JSON does not know; use text, numbers and lists") from error
    except ValueError as error:
        raise InvalidRequest("has a number that JSON cannot keep (too large)") from error
    if not all(isinstance(name, str) for name in value):
        raise InvalidRequest("a field's name must be text")
    return {name: item for name, item in value.items() if item is not None}
