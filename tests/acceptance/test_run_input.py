"""Bad input to `blendq run`: one clear line that says what, where and what to do; and nothing is started.

What is told is the same whether a process tells it or a call, which takes a tenth of the time: one of each kind of
end is a process, as a user starts it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from jobs.settings import Settings
from ops.cli import main
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership
from tests.integration.commands import Done

HEADER = "image1,image2,dimensions,bot_type,modes,state\n"


@dataclass
class Folder:
    """A user's folder with three good pictures."""

    path: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def data_dir(self) -> Path:
        return self.path / "data"

    def write(self, name: str, content: str | bytes) -> str:
        (self.path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def run(self, *words: str, **environ: str) -> Done:
        """`blendq run` in a process of its own."""
        command = [sys.executable, "-m", "ops.cli", *self.command(*words)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("BLENDQ_")}
        env |= {"PYTHONPATH": str(Path(__file__).parents[2])} | environ
        ran = subprocess.run(command, cwd=self.path, env=env, capture_output=True, text=True, timeout=60, check=False)
        return Done(ran.returncode, ran.stdout, ran.stderr)

    def call(self, *words: str, **environ: str) -> Done:
        """The same in this process."""
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.path)
            for name, value in environ.items():
                patch.setenv(name, value)
            code = main(self.command(*words))
        return Done(code, *self.capsys.readouterr())

    def command(self, *words: str) -> list[str]:
        return ["run", *words, "--data-dir", "data", "--out", "out"]

    def refused(self, code: int, *words: str, **environ: str) -> str:
        """Call it; it must leave with `code`, say something on stderr only, and have started nothing."""
        return self.nothing_done(code, self.call(*words, **environ))

    def nothing_done(self, code: int, ran: Done) -> str:
        assert ran.code == code, ran.err
        assert ran.out == ""
        assert ran.err.startswith("blendq: error: ")
        assert "Traceback" not in ran.err
        for left in self.data_dir.rglob("*"):
            assert left.name not in ("redis", "logs", "lock", "sandbox"), f"{left} was made: something was started"
        return ran.err


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Folder:
    for number, colour in enumerate(("red", "green", "blue"), 1):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{number}.png")
    return Folder(tmp_path, capsys)


BAD_ROWS = {
    "no such picture": ("1.png,gone.png,,,,\n", "gone.png"),
    "not a picture": ("1.png,words.png,,,,\n", "words.png"),
    "a truncated picture": ("1.png,cut.png,,,,\n", "cut.png"),
    "one picture": ("1.png,,,,,\n", "2 to 5 pictures, not 1"),
    "unknown dimension": ("1.png,2.png,ROUND,,,\n", "dimensions"),
    "unknown bot": ("1.png,2.png,,HAL,,\n", "bot_type"),
    "unknown mode": ("1.png,2.png,,,SLOW,\n", "modes"),
    "a state that is too long": (f"1.png,2.png,,,,{'x' * 256}\n", "255"),
}


def test_every_bad_row_is_named_at_once(folder: Folder) -> None:
    folder.write("words.png", "these are words")
    folder.write("cut.png", (folder.path / "1.png").read_bytes()[:60])
    folder.write("m.csv", HEADER + "1.png,2.png,,,,\n" + "".join(row for row, _ in BAD_ROWS.values()))
    lines = folder.nothing_done(4, folder.run("m.csv", "--sandbox")).splitlines()
    assert f"{len(BAD_ROWS)} bad rows" in lines[0]
    for number, (line, (what, (_, said))) in enumerate(zip(lines[1:], BAD_ROWS.items(), strict=True), 3):
        assert line.startswith(f"  line {number}: "), what
        assert said in line, what


def test_six_pictures(folder: Folder) -> None:
    folder.write("m.jsonl", '{"images": ["1.png", "2.png", "3.png", "1.png", "2.png", "3.png"]}\n')
    assert "line 1: images: a blend takes 2 to 5 pictures, not 6" in folder.refused(4, "m.jsonl", "--sandbox")


@pytest.mark.parametrize(
    ("setting", "said"), [("BLENDQ_MAX_IMAGE_BYTES", "bytes"), ("BLENDQ_MAX_IMAGE_PIXELS", "pixels")]
)
def test_a_picture_over_a_limit_that_is_settable(folder: Folder, setting: str, said: str) -> None:
    Image.effect_noise((64, 64), 100).save(folder.path / "large.png")
    folder.write("m.csv", HEADER + "1.png,large.png,,,,\n")
    told = folder.refused(4, "m.csv", "--sandbox", **{setting: "1024"})
    assert "line 2: " in told
    assert "large.png" in told
    assert said in told


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.csv", "", "m.csv"),
        ("m.csv", HEADER, "no rows"),
        ("m.csv", "picture_one,image2\n1.png,2.png\n", "picture_one"),
        ("m.csv", b"\x89PNG\x00\x01\x02\xff", "text"),
        ("m.jsonl", b"\x00" * 100, "text"),
        ("m.txt", "1.png", ".csv"),
    ],
)
def test_a_bad_manifest(folder: Folder, name: str, content: str | bytes, said: str) -> None:
    folder.write(name, content)
    told = folder.refused(4, name, "--sandbox")
    assert name in told
    assert said in told
    assert told.count("\n") == 1


def test_a_manifest_that_is_not_there(folder: Folder) -> None:
    assert "gone.csv: no such file" in folder.refused(4, "gone.csv", "--sandbox")


def test_a_folder_without_a_rule(folder: Folder) -> None:
    (folder.path / "folder.csv").mkdir()
    told = folder.refused(2, "folder.csv", "--sandbox")
    assert "folder.csv: is a folder" in told
    assert "--pair" in told


FOLDERS = {
    "a rule for a manifest": (2, ["m.csv", "--pair", "all"], "--pair is for folders"),
    "a folder and a manifest": (2, ["pictures", "m.csv", "--pair", "cross"], "not both"),
    "two manifests": (2, ["m.csv", "m.csv"], "one manifest, not 2"),
    "all of two folders": (2, ["pictures", "pictures", "--pair", "all"], "one folder, not of 2"),
    "zip of one folder": (2, ["pictures", "--pair", "zip"], "2 to 5 folders, not 1"),
    "a group of six": (2, ["pictures", "--pair", "all", "--group", "6"], "--group"),
    "a group across": (2, ["pictures", "pictures", "--pair", "cross", "--group", "3"], "--group is for"),
    "its own results": (2, ["pictures/../out", "--pair", "all"], "would blend the blends"),
    "a seed for nothing": (2, ["pictures", "--pair", "all", "--seed", "3"], "--seed is for --sample"),
    "a wrong default": (2, ["m.csv", "--notify-hook", "me"], "notify_hook: must be an http"),
    "an empty folder": (4, ["empty", "--pair", "all"], "empty: has no pictures"),
    "one picture only": (4, ["lonely", "--pair", "all"], "too few pictures"),
    "a broken picture": (4, ["broken", "--pair", "all"], "2 impossible blends"),
    "unequal folders": (4, ["pictures", "lonely", "--pair", "zip"], "have 3, 1 pictures"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_bad_folders(folder: Folder, what: str) -> None:
    for name, numbers in {"pictures": (1, 2, 3), "empty": (), "lonely": (1,), "broken": (1, 2), "out": (1, 2)}.items():
        (folder.path / name).mkdir()
        for number in numbers:
            shutil.copy(folder.path / f"{number}.png", folder.path / name)
    folder.write("broken/3.png", "words")
    folder.write("m.csv", HEADER + "1.png,2.png,,,,\n")
    code, words, said = FOLDERS[what]
    told = folder.refused(code, *words, "--sandbox")
    assert said in told
    assert told.count("\n") == (2 if what == "a broken picture" else 1), "each trouble once"


@pytest.mark.parametrize("name", ["results.jsonl", "errors.jsonl"])
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_results_take_the_place_of_no_manifest(folder: Folder, name: str, more: list[str]) -> None:
    text = '{"images": ["../1.png", "../2.png"]}\n'
    (folder.path / "out").mkdir()
    folder.write(f"out/{name}", text)
    (folder.path / "linked.jsonl").symlink_to(f"out/{name}")
    for manifest in (f"out/{name}", "linked.jsonl"):
        assert "is where the results would be written" in folder.refused(2, manifest, "--sandbox", *more)
    assert (folder.path / "out" / name).read_text() == text


BAD_OPTIONS = {
    "a budget without a price": (["--max-cost", "5"], "--max-cost needs the price"),
    "a budget below one": (["--max-cost", "0.1", "--price", "0.5"], "does not pay for one submission"),
    "no percentage": (["--stop-after-failures", "many"], "'many' is no percentage"),
    "no submissions": (["--max-submissions", "0"], "--max-submissions"),
    "no weight": (["--weight", "0"], "--weight"),
    "no takes": (["--repeat", "0"], "--repeat"),
    "a tiny side": (["--max-side", "1"], "--max-side"),
    "an unknown format": (["--format", "bmp"], "--format"),
    "a wrong name": (["--name", "{x}"], "name '{x}': must have"),
    "a price of nothing": (["--price", "0"], "--price"),
    "no JSON": (["--metadata", "{"], "--metadata is not JSON"),
}


@pytest.mark.parametrize("what", BAD_OPTIONS)
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_bad_options(folder: Folder, what: str, more: list[str]) -> None:
    folder.write("m.csv", HEADER + "1.png,2.png,,,,\n")
    words, said = BAD_OPTIONS[what]
    told = folder.refused(2, "m.csv", "--sandbox", *words, *more)
    assert said in told
    assert told.count("\n") == 1


def test_a_bare_sandbox_may_come_before_the_manifest(folder: Folder) -> None:
    assert "gone.csv: no such file" in folder.refused(4, "--sandbox", "gone.csv")


def test_no_api_and_no_sandbox(folder: Folder) -> None:
    folder.write("m.csv", HEADER + "1.png,2.png,,,,\n")
    told = folder.nothing_done(2, folder.run("m.csv"))
    assert all(word in told for word in ("BLENDQ_API_URL", "BLENDQ_API_KEY", "BLENDQ_PUBLIC_URL", "--sandbox"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BLENDQ_SLOT", "3", "unknown setting BLENDQ_SLOT"),
        ("BLENDQ_SLOTS", "many", "slots"),
        ("BLENDQ_API_URL", "htp:/nowhere", "api_url"),
        ("BLENDQ_PUBLIC_URL", "https://me/?secret=1", "public_url"),
        ("BLENDQ_CONFIG", "gone.toml", "gone.toml"),
    ],
)
def test_a_bad_setting(folder: Folder, name: str, value: str, said: str) -> None:
    folder.write("m.csv", HEADER + "1.png,2.png,,,,\n")
    told = folder.refused(2, "m.csv", "--sandbox", **{name: value})
    assert said in told
    assert told.count("\n") == 1


def test_a_folder_for_pictures_that_cannot_be_written(folder: Folder) -> None:
    folder.write("m.csv", HEADER + "1.png,2.png,,,,\n")
    folder.write("out", "a file, not a folder")
    told = folder.refused(2, "m.csv", "--sandbox")
    assert "folder out: cannot be written" in told
    assert "--out" in told


def test_a_data_folder_that_cannot_be_made(folder: Folder) -> None:
    folder.write("m.csv", HEADER + "1.png,2.png,,,,\n")
    folder.write("data", "a file, not a folder")
    ran = folder.call("m.csv", "--sandbox")
    assert ran.code == 2
    assert ran.err.startswith("blendq: error: data folder ")
    assert "--data-dir" in ran.err


@pytest.mark.usefixtures("server_binary")
def test_a_data_folder_in_use_by_another_run(folder: Folder) -> None:
    folder.write("m.csv", HEADER + "1.png,2.png,,,,\n")
    settings = Settings(data_dir=folder.data_dir / "sandbox-open-source")
    with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner) as server:
        ran = folder.run("m.csv", "--sandbox")
        assert server.alive
    assert ran.code == 2
    assert f"is in use by process {os.getpid()} " in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.usefixtures("server_binary")
def test_a_port_in_use(folder: Folder) -> None:
    """Told before anything is sent; the jobs are kept, and go on when the port is free."""
    folder.write("m.csv", HEADER + "1.png,2.png,,,,\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ran = folder.run("m.csv", "--sandbox", BLENDQ_RECEIVER_PORT=port)
    assert ran.code == 2
    assert ran.out == ""
    last = ran.err.splitlines()[-1]
    assert (
        last == f"blendq: error: the receiver cannot listen on 127.0.0.1:{port}; set BLENDQ_RECEIVER_PORT to a free one"
    )
    assert not (folder.data_dir / "sandbox-open-source" / "sandbox").exists()


@pytest.mark.usefixtures("server_binary")
def test_one_bad_row_in_the_middle_of_many_batches(folder: Folder) -> None:
    """Batches are enqueued as they are read; but none before all of them were read once."""
    good = '{"images": ["1.png", "2.png"]}\n'
    folder.write("m.jsonl", good * 700 + '{"images": ["1.png"]}\n' + good * 700)
    assert "line 701: images: a blend takes 2 to 5 pictures, not 1" in folder.refused(4, "m.jsonl", "--sandbox")
