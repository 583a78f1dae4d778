"""Bad input of every kind: one clear message, no traceback, no secret; nothing is kept, enqueued or sent.

A whole stack runs beside it: whatever slipped through would be blended, and the simulated ledger would show it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.settings import Settings
from ops.cli import main
from ops.local import LocalStack, SandboxChoice
from producer import BlendRequest, Producer
from producer.tokens import Scope
from tests.integration.bad_input import ANYWHERE, BATCH, CALLS, HERE, MANIFESTS, Call, Command, make_files
from tests.integration.service import Service, bearer, problem, serving

SECRET = "s3cret"
ONE_LINE = re.compile(r"blendq( sandbox)?: error: [^\n]+\n")
WITH_ROWS = re.compile(r"blendq: error: [^\n]+\n(  [^\n]+\n)*")


@dataclass
class Stack:
    """A stack that works, in a folder of a user's files; and what it keeps."""

    folder: Path
    settings: Settings
    blends: Producer

    @property
    def ledger(self) -> list[str]:
        lines = (self.settings.data_dir / "sandbox" / "ledger.jsonl").read_text().splitlines()
        return [line for line in lines if json.loads(line)["kind"] == "accepted"]

    def kept(self) -> tuple[Any, ...]:
        """All that bad input could have changed."""
        store = self.blends.store
        named = (store.campaigns(), self.blends.schedules.all(), self.blends.tokens.all(), store.webhooks.all())
        plans = [store.turns.plan(name) for name, _ in named[0]]
        return dict(store.counts(None)), named, plans, self.ledger


@pytest.fixture(scope="module")
def stack(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("bad-input")
    make_files(folder)
    with LocalStack(Settings(data_dir=folder / "data"), SandboxChoice(speed=100.0)) as local:
        local.start_server()
        local.start_rest()
        with Producer(local.settings) as blends:
            made = Stack(folder, local.settings, blends)
            images = (str(folder / "1.png"), str(folder / "2.png"))
            assert blends.wait(blends.enqueue(BlendRequest(images=images)), timeout_seconds=60).picture
            assert len(made.ledger) == 1, "what is right is sent, and the ledger shows it"
            yield made


@pytest.fixture
def unchanged(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The stack, which is the same afterwards."""
    monkeypatch.chdir(stack.folder)
    before, files = stack.kept(), set(stack.folder.iterdir())
    yield stack
    assert stack.kept() == before
    assert {path.name for path in set(stack.folder.iterdir()) - files} <= {"new", "blends"}, (
        "nothing was made by mistake"
    )


def wrong_with(command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a command that is to be refused does otherwise."""
    capsys.readouterr()
    with monkeypatch.context() as patch:
        for name, value in command.environ.items():
            patch.setenv(name, value)
        try:
            code: object = main(command.argv)
        except SystemExit as left:  # argparse's way
            code = left.code
    out, err = capsys.readouterr()
    if command.argv[0] == "settings":  # lists them all the same: its user comes to mend one
        out = ""
    form = WITH_ROWS if "bad row" in err else ONE_LINE
    right = {
        f"exit code {code}, not {command.code}": code == command.code,
        f"stdout {out!r}": out == "",
        "not one message": form.fullmatch(err),
        f"no {command.said!r}": command.said in err,
        "unexpected": "unexpected " not in err.replace("unexpected extra argument", ""),
        "a secret": SECRET not in err,
    }
    shown = f"blendq {' '.join(command.argv)[:120]} {command.environ}"
    return [f"{shown}: {what}: {err[:500]}" for what, is_right in right.items() if not is_right]


def test_commands(unchanged: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    place = ["--sandbox", "--data-dir", "data"]
    here = [Command([*one.argv, *place], one.code, one.said, one.environ) for one in HERE]
    assert not [wrong for one in [*ANYWHERE, *here] for wrong in wrong_with(one, capsys, monkeypatch)]


def test_manifests(unchanged: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for one in MANIFESTS:
        path = unchanged.folder / one.name
        path.write_bytes(one.content if isinstance(one.content, bytes) else one.content.encode())
        command = Command(["run", one.name, "--sandbox", "--data-dir", "data"], 4, one.said)
        assert not wrong_with(command, capsys, monkeypatch)
        path.unlink()


# The HTTP API --------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(unchanged: Stack, tmp_path: Path) -> Iterator[Service]:
    with serving(unchanged.settings, tmp_path, BLENDQ_SERVICE_REQUESTS_PER_SECOND="100000") as made:
        yield made
    assert SECRET not in made.log.read_text()


def filled(text: bytes, digests: list[str]) -> bytes:
    return text.replace(b"$1", digests[0].encode()).replace(b"$2", digests[1].encode())


def test_calls(service: Service) -> None:
    digests = [service.upload(), service.upload()]
    for one in CALLS:
        body, headers = one.body, one.headers
        if one.job is not None:
            body, headers = json.dumps(one.job).encode(), {"Content-Type": "application/json"} | headers
        method, path = one.how.split()
        answer = service.http.request(method, path, content=body and filled(body, digests), headers=headers)
        assert one.said in problem(answer, one.status, one.code)["detail"], one.how
        assert SECRET not in answer.text


def test_lines_of_a_batch(service: Service) -> None:
    digests = [service.upload(), service.upload()]
    body = b"\n".join(filled(line, digests) for line, _, _ in BATCH)
    answer = service.http.post("/v1/jobs:batch", content=body, headers={"Content-Type": "application/x-ndjson"})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["line"] for line in lines] == list(range(1, len(BATCH) + 1))
    for line, (_, code, said) in zip(lines, BATCH, strict=True):
        assert line["error"]["code"] == code
        assert said in line["error"]["detail"]


def test_a_token_of_too_small_a_scope(service: Service, unchanged: Stack) -> None:
    token = unchanged.blends.tokens.create("reader", Scope.READ)
    try:
        answer = service.http.post("/v1/jobs", json={}, headers=bearer(token))
        assert "token reader may read; this takes write" in problem(answer, 403, "scope")["detail"]
        assert "send `Authorization" in problem(service.http.get("/v1/jobs"), 401, "unauthorized")["detail"]
    finally:
        unchanged.blends.tokens.revoke("reader")


def test_the_tables_are_not_empty() -> None:
    assert len([*ANYWHERE, *HERE, *MANIFESTS, *CALLS, *BATCH]) >= 200
    assert isinstance(CALLS[0], Call)
