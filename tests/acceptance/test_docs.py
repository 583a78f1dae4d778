"""Every example of README.md and docs/, as a reader would type it, on a stack of the sandbox's.

In each document they go in order, in a folder with what the document takes for granted. `blendq run` checks everything
and tells what it would do (`--dry-run`), since the stack runs already; tests/acceptance/test_run.py runs the README's
first line for real. What no test can run is marked (tests/documents.py), and checked by tests/unit/test_docs.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from jobs.settings import Settings
from ops.cli import main
from ops.local import LocalStack, SandboxChoice
from producer import BlendRequest, Producer
from tests.acceptance.runs import DEADLINE_SECONDS
from tests.documents import ROOT, Block, blendq_words, blocks, commands
from tests.integration.endpoint import Endpoint, open_endpoint
from tests.integration.service import serving

EXAMPLES = ROOT / "examples"
PHOTOS = ("whale.webp", "city.webp", "dunes.jpg", "mountains.jpg")


@dataclass
class Reader:
    """Somebody who reads a document and types what it says."""

    folder: Path
    settings: Settings
    blends: Producer

    def runs(self, document: str, **placeholders: str) -> int:
        """How many examples there were; `placeholders` are what the reader puts for ID and the like."""
        found = [block for block in blocks(ROOT / document) if block.run and block.language in ("sh", "python")]
        for block in found:
            if block.language == "python":
                exec(compile(block.text, block.name, "exec"), {"__name__": "__main__"})
            else:
                self._types(block, placeholders)
        return len(found)

    def _types(self, block: Block, placeholders: dict[str, str]) -> None:
        for command in commands(block.text):
            words = blendq_words(command)
            assert not command or command[0] == "blendq", f"{block.name}: {command} is no blendq command; mark it"
            if words is not None:
                words = [placeholders.get(word, word) for word in words]
                code = main(words if words[0] != "run" else [*words, "--dry-run"])
                assert code == 0, f"{block.name}: blendq {' '.join(words)} left with {code}"


@pytest.fixture(scope="module")
def stack(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    base = Settings(data_dir=tmp_path_factory.mktemp("docs"), allowed_networks="127.0.0.0/8")
    with LocalStack(base, SandboxChoice(speed=100.0)) as local:
        local.start_server()
        local.start_rest()
        yield local.settings


@pytest.fixture
def reader(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    for folder in ("photos", "frames", "people", "places"):
        (tmp_path / folder).mkdir()
        for photo in PHOTOS:
            shutil.copy(EXAMPLES / photo, tmp_path / folder)
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (32, 32), colour).save(tmp_path / name)
    for name, value in stack.to_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with Producer(stack) as blends:
        yield Reader(tmp_path, stack, blends)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with open_endpoint() as made:
        yield made


def test_readme(reader: Reader) -> None:
    assert reader.runs("README.md") >= 1
    (done,) = [job for job in reader.blends.campaign("default").jobs() if job.request.custom_id == "order-17"]
    assert done.status == "succeeded"


def test_campaigns(reader: Reader) -> None:
    reader.blends.wait(reader.blends.enqueue(BlendRequest(images=PHOTOS[:2]), campaign="spring"), DEADLINE_SECONDS)
    assert reader.runs("docs/campaigns.md") >= 6
    assert (reader.folder / "spring" / "results.csv").is_file()
    assert reader.blends.campaign("spring").plan.max_submissions == 500


def test_follow_ups(reader: Reader) -> None:
    grid = reader.blends.enqueue(BlendRequest(images=PHOTOS[2:]), campaign="grids")
    reader.blends.wait(grid, DEADLINE_SECONDS)
    assert reader.runs("docs/follow-ups.md", **{"job_4nsb…": grid.id}) >= 3
    made = [job for job in reader.blends.campaign("grids").jobs() if job.id != grid.id]
    assert len(made) == len(["U2", "U1", "V3", "V3 again"])


def test_schedules(reader: Reader) -> None:
    (reader.folder / "incoming").mkdir()
    shutil.copy(EXAMPLES / "pairs.csv", reader.folder / "incoming")
    for photo in EXAMPLES.glob("*.*"):
        shutil.copy(photo, reader.folder / "incoming")
    assert reader.runs("docs/schedules.md") >= 1
    assert [one.name for one in reader.blends.schedules.all()] == ["often"]


def test_upstreams(reader: Reader) -> None:
    assert reader.runs("docs/upstreams.md") == 1


def test_webhooks(reader: Reader, endpoint: Endpoint) -> None:
    made = reader.blends.store.webhooks.add(endpoint.url)
    event = reader.blends.store.webhooks.test(made.id)
    assert reader.runs("docs/webhooks.md", ID=made.id, **{"WEBHOOK-ID": event}) >= 1
    assert "webhook.test" in endpoint.types
    assert reader.blends.store.webhooks.all() == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_http_api(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its blocks are one script."""
    first, *others = [block.text for block in blocks(ROOT / "docs" / "http-api.md") if block.language == "sh"]
    assert first == "API=http://127.0.0.1:8793\n"
    assert len(others) == 3
    with serving(reader.settings, tmp_path_factory.mktemp("api")) as service:
        script = "\n".join(["set -euo pipefail", f"API={service.url}", *others])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=reader.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert re.search("one job: job_.*\n.*succeeded", done.stdout)
    with Image.open(reader.folder / "blend.png") as picture:
        picture.load()


def test_python(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    """Its blocks are one program."""
    program = "".join(block.text for block in blocks(ROOT / "docs" / "python.md") if block.language == "python")
    exec(compile(program, "docs/python.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert (printed.count("enqueued job_"), printed.count("succeeded")) == (4, 6), printed
    assert [done.status for name in ("summer", "autumn", "winter") for done in reader.blends.results(name)] == (
        ["succeeded"] * 5
    )
    with Image.open(reader.folder / "order-18.png") as picture:
        picture.load()


def test_no_document_with_examples_is_forgotten() -> None:
    """A new one gets a test here, or says that its examples are not run."""
    found = [block for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) for block in blocks(path)]
    tried = {block.path.name for block in found if block.run and block.language in ("sh", "python")}
    run = {"README.md", "campaigns.md", "follow-ups.md", "schedules.md", "webhooks.md", "http-api.md", "python.md"}
    run.add("upstreams.md")
    assert tried == run
