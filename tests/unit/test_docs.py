"""What the documents name is there: commands, options, settings, files; and manifests in them can be read."""

from __future__ import annotations

import ast
import re
import shutil
from http import HTTPStatus
from pathlib import Path

import click
import pytest

from jobs.settings import Settings
from ops.chaos.options import _parser as chaos_parser
from ops.cli import cli
from ops.sandbox.options import parser as sandbox_parser
from producer.manifests.manifest import load_manifest
from tests.documents import DOCUMENTS, ROOT, Block, blendq_words, blocks, commands, spans

BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
MANIFESTS = {"csv": "csv", "json": "jsonl", "jsonl": "jsonl", "yaml": "yaml"}
SETTINGS = {f"BLENDQ_{name.upper()}" for name in Settings.model_fields} | {"BLENDQ_CONFIG"}
# Options, and words that stand for something.
_NO_COMMAND = re.compile(r"[-A-Z…<]")


def of(*languages: str) -> list[object]:
    return [pytest.param(block, id=block.name) for block in BLOCKS if block.language in languages]


def found(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that some words name, and the words that are left."""
    command: click.Command = cli
    context = click.Context(cli, info_name="blendq")
    while isinstance(command, click.Group) and words and not _NO_COMMAND.match(words[0]):
        inner = command.get_command(context, words[0])
        assert inner is not None, f"there is no command {words[0]!r} in `{context.command_path}`"
        command, context = inner, click.Context(inner, info_name=words[0], parent=context)
        words = words[1:]
    return command, context, words


def check_options(words: list[str]) -> None:
    """Every option is one of the command's; for a sentence, which need not say all that the command wants."""
    command, context, rest = found(words)
    known = {name for one in command.get_params(context) for name in (*one.opts, *one.secondary_opts)} | {"--debug"}
    if command.name == "sandbox":
        known |= set(sandbox_parser()._option_string_actions)
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"`{context.command_path}` has no option {word}"


def check_whole(words: list[str]) -> None:
    """The command takes just this."""
    command, context, rest = found(words)
    if not isinstance(command, click.Group):
        rest = ["--sandbox=open-source" if word == "--sandbox" else word for word in rest]
        command.make_context(context.info_name, rest, parent=context.parent)


def test_there_are_examples() -> None:
    assert len(BLOCKS) > 30
    assert {block.language for block in BLOCKS} >= {"sh", "python", "csv", "json", "yaml"}
    assert sum(block.run for block in BLOCKS) > 15


@pytest.mark.parametrize("block", of("sh"))
def test_commands_in_examples(block: Block) -> None:
    for command in commands(block.text):
        if (words := blendq_words(command)) is not None:
            check_whole(words)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_sentences(path: Path) -> None:
    for span in spans(path):
        words = span.replace("[", " ").replace("]", " ").split()
        if words[:1] == ["blendq"]:
            for one in alternatives(words[1:]):
                check_options(one)
        if words[:3] == ["python", "-m", "ops.chaos"]:
            known = chaos_parser((), ())._option_string_actions
            assert {word for word in words if word.startswith("--")} <= set(known), span


def alternatives(words: list[str]) -> list[list[str]]:
    """`campaign pause|resume NAME` as two."""
    for number, word in enumerate(words[:2]):
        if "|" in word and not word.startswith("-"):
            return [[*words[:number], name, *words[number + 1 :]] for name in word.split("|")]
    return [words]


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_settings(path: Path) -> None:
    named = set(re.findall(r"BLENDQ_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8")))
    assert named <= SETTINGS, "there are no such settings"


def test_every_setting_is_told_of_somewhere() -> None:
    told = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert [name for name in sorted(SETTINGS) if not re.search(rf"\b{name}\b", told)] == []


@pytest.mark.parametrize("block", of("sh"))
def test_variables_of_the_containers(block: Block) -> None:
    """Lines for `.env` set what docker-compose.yml, or a setting, reads."""
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    if "docker" in block.text or "REDIS_PASSWORD" in block.text:
        for name in re.findall(r"^([A-Z_]+)=", block.text, re.MULTILINE):
            assert re.search(rf"\b{name}\b", compose) or name == "COMPOSE_PROFILES", name


@pytest.mark.parametrize("block", of(*MANIFESTS))
def test_manifests(block: Block, tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "examples", tmp_path / "examples")
    path = folder / f"example.{MANIFESTS[block.language]}"
    path.write_text(block.text)
    for row in load_manifest(path):
        assert all(Path(image).is_file() for image in row.request.images), row


def test_every_problem_that_the_http_api_tells_is_in_its_document() -> None:
    told = (ROOT / "docs" / "http-api.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "producer" / "api").glob("*.py"))
    codes = {(HTTPStatus[status].value, code) for status, code in re.findall(r'HTTPStatus\.(\w+), "(\w+)"', sources)}
    assert len(codes) > 15
    rows = [cells.split("|") for cells in told.splitlines() if re.match(r"\| [0-9, ]+ \| `", cells)]
    listed = {
        (int(status), code) for row in rows for status in row[1].split(",") for code in row[2].strip(" `").split("`, `")
    }
    assert codes - listed == {(400, "hung_up")}, "of which nobody is told"


@pytest.mark.parametrize("block", of("python"))
def test_python_can_be_read(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", path.read_text(encoding="utf-8")):
        if "://" not in link:
            target = path.parent / link if link else path
            assert target.exists(), link
            assert not heading or heading in headings(target), f"{link}#{heading}"


def headings(path: Path) -> set[str]:
    """What links call the headings of a document."""
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}
