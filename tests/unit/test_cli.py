"""The command line: what it says, where it says it, and what it leaves with."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from jobs.errors import DataDirInUse, ManifestError, PortInUse, RowProblem, StackError, UpstreamRefused
from jobs.job import Status
from jobs.settings import Settings
from ops import cli as cli_module
from ops.cli import COMMANDS, cli, main
from ops.cli.output import duration, print_json
from ops.cli.progress import Progress, finished, in_flight, total
from ops.cli.settings import describe
from ops.local import SANDBOX_DEFAULTS, SandboxChoice, sandbox_settings


def fail_with(problem: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `blendq fail` a command that ends in this error."""

    @click.command()
    def fail() -> None:
        raise problem

    monkeypatch.setitem(cli_module.COMMANDS, "fail", ("tests.unit.test_cli:failing", ""))
    monkeypatch.setitem(globals(), "failing", fail)


def test_the_version_and_the_help_load_nothing_heavy() -> None:
    """They answer in a blink: neither Celery nor pydantic nor rich is loaded."""
    code = (
        "import sys; from ops.cli import main; assert main(sys.argv[1:]) == 0; "
        "print(*sorted({'celery', 'pydantic', 'redis', 'rich', 'PIL'} & set(sys.modules)), file=sys.stderr)"
    )
    for option, expected in (("--version", "blendq 0."), ("--help", "Usage: blendq")):
        ran = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=True)
        assert ran.stdout.startswith(expected)
        assert ran.stderr.strip() == ""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "sandbox"])
def test_every_command_has_a_help_text(name: str) -> None:
    answer = CliRunner().invoke(cli, [name, "--help"])
    assert answer.exit_code == 0, answer.output
    assert len(answer.output.split("Options:")[0].splitlines()) > 3


def test_help_shows_no_bounds_where_there_are_none() -> None:
    answer = CliRunner().invoke(cli, ["schedule", "add", "--help"])
    assert "--every SECONDS" in answer.output
    assert "None" not in answer.output


def test_help_lists_every_command() -> None:
    answer = CliRunner().invoke(cli, ["--help"])
    assert all(f"\n  {name} " in answer.output for name in COMMANDS)


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (StackError("no server"), 1),
        (PortInUse("port 1 is taken"), 2),
        (DataDirInUse("in use by process 7"), 2),
        (ManifestError("m.csv: 1 bad row", [RowProblem(2, "no picture")]), 4),
        (UpstreamRefused("the key"), 5),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    problem: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(problem, monkeypatch)
    assert main(["fail"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"blendq: error: {problem}\n"


def test_an_unexpected_error_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(ZeroDivisionError("two\nlines"), monkeypatch)
    assert main(["fail"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("blendq: error: unexpected ZeroDivisionError: two lines (--debug")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("words", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_where_it_came_from(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(ZeroDivisionError("x"), monkeypatch)
    assert main(words) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_name_of_a_file_need_not_be_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with such a folder for its results did all its work, and ended with an unexpected error."""

    @click.command()
    def failing() -> None:
        print_json({"out": "o\udcfft"})

    out = io.BytesIO()
    fail_with(ZeroDivisionError(), monkeypatch)
    monkeypatch.setitem(globals(), "failing", failing)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8", errors="strict"))
    assert main(["fail"]) == 0
    assert json.loads(out.getvalue()) == {"out": "o\udcfft"}


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert main(["fail"]) == 130
    assert "the same command again goes on" in capsys.readouterr().err


@pytest.mark.parametrize("before", [signal.default_int_handler, signal.SIG_IGN])
@pytest.mark.parametrize("part", ["worker", "beat"])
def test_while_celery_is_loaded_ctrl_c_is_not_an_error_that_may_be_swallowed(
    part: str, before: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised amid an import it could be: a beat that was told to leave so went on. Under nohup it stays ignored."""
    seen: list[object] = []

    def settings(_: object) -> Settings:
        seen.append(signal.getsignal(signal.SIGINT))
        raise StackError("no server")

    monkeypatch.setattr("ops.cli.processes.with_server", settings)
    ours = signal.signal(signal.SIGINT, before)
    try:
        assert main([part]) == 1
    finally:
        signal.signal(signal.SIGINT, ours)
    assert seen == [signal.SIG_IGN if before is signal.SIG_IGN else signal.SIG_DFL]


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run"],
        ["run", "a.csv", "b.csv"],
        ["run", "a.csv", "--sandbox=nowhere"],
        ["run", "a.csv", "--on-queued", "never"],
        ["run", "a.csv", "--slots", "many"],
        ["run", "a.csv", "--slots", "0", "--sandbox"],
        ["run", "a.csv", "--sandbox", "--speed", "0"],
        ["run", "a.csv", "--speed", "3"],
        ["run", "a.csv"],
        ["up"],
    ],
)
def test_usage_errors_are_one_line_and_exit_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("blendq: error: ")
    assert said.err.count("\n") == 1


def test_without_an_api_it_says_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "a.csv"]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("BLENDQ_API_URL", "BLENDQ_API_KEY", "BLENDQ_PUBLIC_URL", "--sandbox"))


def test_a_reader_that_leaves_is_not_worth_a_word() -> None:
    command = [sys.executable, "-m", "ops.cli", "settings"]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert ran.stdout is not None
    assert ran.stderr is not None
    ran.stdout.close()
    with ran.stderr as said:
        assert said.read() == ""
    ran.wait()


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_are_no_error_and_no_file_gets_their_place(closed: tuple[int, ...], tmp_path: Path) -> None:
    """A lock or pipe under their numbers would not reach the children; and notes would end up in the data."""
    code = (
        "import os, sys; from ops.cli import main; from ops.notes import note; code = main(['--version']); note('n'); "
        "opened = os.open('.', os.O_RDONLY); open('told', 'w').write(f'{code} {opened > 2}')"
    )
    closing = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "told").read_text() == "0 True"
    assert (ran.stdout != b"") == (1 not in closed)
    assert ran.stderr == (b"" if 2 in closed else b"blendq: n\n")
    assert b"blendq: n" not in ran.stdout


# --- settings ------------------------------------------------------------------------------------------------------


def test_settings_says_where_each_value_comes_from(tmp_path: Path) -> None:
    config = tmp_path / "blendq.toml"
    config.write_text('slots = 7\napi_key = "from the file"\n')
    environ = {"BLENDQ_CONFIG": str(config), "BLENDQ_POLL_MAX_SECONDS": "9"}
    rows = {row["name"]: row for row in describe(environ, tmp_path)}
    assert set(rows) == set(Settings.model_fields)
    assert (rows["slots"]["value"], rows["slots"]["source"], rows["slots"]["default"]) == ("7", "file", "not set")
    assert (rows["poll_max_seconds"]["value"], rows["poll_max_seconds"]["source"]) == ("9.0", "environment")
    assert (rows["data_dir"]["value"], rows["data_dir"]["source"]) == (str(tmp_path), "--data-dir")
    assert rows["api_url"]["source"] == "default"


def test_settings_never_shows_a_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """I8."""
    monkeypatch.setenv("BLENDQ_API_KEY", "a-very-secret-key")
    monkeypatch.setenv("BLENDQ_HOOK_SECRET", "a-very-secret-secret")
    monkeypatch.setenv("BLENDQ_REDIS_URL", "redis://me:very-secret@redis:6379/0")
    for words in (["settings"], ["settings", "--json"]):
        assert main(words) == 0
        said = capsys.readouterr()
        assert "very-secret" not in said.out + said.err
    rows = {row["name"]: row["value"] for row in json.loads(said.out)}
    assert rows["api_key"] == "set"
    assert rows["hook_secret_previous"] == "not set"
    assert rows["redis_url"] == "redis://me:***@redis:6379/0"


def test_settings_helps_with_a_bad_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BLENDQ_SLOT", "3")
    assert main(["settings"]) == 2
    said = capsys.readouterr()
    assert "BLENDQ_SLOTS = not set" in said.out
    assert "unknown setting BLENDQ_SLOT (did you mean BLENDQ_SLOTS?)" in said.err


# --- the sandbox's settings ----------------------------------------------------------------------------------------


def test_a_sandbox_has_data_of_its_own_and_no_real_key(tmp_path: Path) -> None:
    real = Settings(
        data_dir=tmp_path,
        redis_url="redis://real:6379",
        api_url="https://real",
        api_key=SecretStr("real"),
        public_url="https://me",
    )
    made = sandbox_settings(real, SandboxChoice("plus"))
    assert made.data_dir == tmp_path / "sandbox-plus"
    assert made.redis_url is None
    assert made.api_url is None
    assert made.public_url is None
    assert made.api_key is not None
    assert made.api_key.get_secret_value() != "real"


def test_a_sandbox_is_quick_unless_the_user_chose(tmp_path: Path) -> None:
    quick = sandbox_settings(Settings(data_dir=tmp_path), SandboxChoice())
    assert {name: getattr(quick, name) for name in SANDBOX_DEFAULTS} == SANDBOX_DEFAULTS
    chosen = sandbox_settings(Settings(data_dir=tmp_path, slots=9, poll_min_seconds=4), SandboxChoice())
    assert (chosen.slots, chosen.poll_min_seconds, chosen.poll_max_seconds) == (9, 4, 30)
    assert chosen.backoff_cap_seconds == SANDBOX_DEFAULTS["backoff_cap_seconds"]


# --- progress ------------------------------------------------------------------------------------------------------


def test_progress_counts_this_run_only() -> None:
    before = {"succeeded": 10, "waiting": 10, "queued_answers": 5, "resubmissions": 2}
    now = {"succeeded": 14, "failed": 1, "running": 2, "waiting": 3, "queued_answers": 9, "resubmissions": 3}
    progress = Progress(now, before, seconds=10)
    assert progress.rate == 0.5
    assert progress.seconds_left == 10
    assert progress.since("queued_answers") == 4
    assert progress.line() == (
        "15/20 done: 14 succeeded · 1 failed · 2 running · 3 waiting"
        " · 0.50/s · about 10 s left · 4 times 22 · 1 resubmitted"
    )


def test_progress_promises_nothing_before_it_knows() -> None:
    assert Progress({"waiting": 3}, {}, seconds=0).seconds_left is None


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_counted_and_shown(status: Status) -> None:
    counts = {status.value: 2, "submissions": 7}
    assert total(counts) == 2
    assert finished(counts) == (2 if status.final else 0)
    assert in_flight(counts) == (0 if status.final or status is Status.WAITING else 2)
    assert Progress(counts, {}, 1).statuses().startswith("2 ")


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.4, 60, 3599, 7322)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "2 h 2 min",
    ]
