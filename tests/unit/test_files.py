"""Small files that are made once: whole, private, and there after a power cut (I9)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.errors import SettingsError
from jobs.files import create_once, kept


def test_a_file_is_on_the_disk_before_and_after_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, steps = tmp_path / "new" / "secret", []
    fsync, link = os.fsync, os.link

    def watched_fsync(descriptor: int) -> None:
        steps.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def watched_link(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    monkeypatch.setattr("jobs.files.secrets.token_hex", lambda _: "x")
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "link", watched_link)
    assert create_once(path, "mine") == "mine"
    assert steps == [f"sync {tmp_path.name}", "sync .secret-x", "link", "sync new"]
    assert create_once(path, "later") == "mine"
    assert steps[4:] == ["sync .secret-x", "link", "sync new"], "the faster process may not have synced it yet"


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    with pytest.raises(SettingsError, match="secret is empty"):
        kept(tmp_path / "secret", lambda: "new")
