"""Callback addresses: each test names one way to forge or break one (I4)."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import SettingsError
from jobs.settings import Settings
from worker.hooks import Hooks

OLD, NEW = b"the-old-secret-0123456789", b"the-new-secret-0123456789"
JOB, ATTEMPT = "job_abc", "3"


def parts(hooks: Hooks) -> list[str]:
    return hooks.token(JOB, 3).split("/")


def test_an_address_of_ours_verifies() -> None:
    hooks = Hooks([NEW], "https://me.example/base")
    url = hooks.url(JOB, 3)
    assert url is not None
    assert url.startswith("https://me.example/base/hooks/job_abc/3/")
    assert hooks.verify(*url.split("/")[-3:])


def test_a_mac_fits_one_job_and_one_attempt_only() -> None:
    hooks = Hooks([NEW], None)
    mac = parts(hooks)[2]
    assert not hooks.verify("job_abd", ATTEMPT, mac)
    assert not hooks.verify(JOB, "4", mac)
    assert not hooks.verify("job_abc/3", "", mac)
    assert not hooks.verify(JOB, "03", mac)


def test_another_secret_does_not_verify() -> None:
    assert not Hooks([NEW], None).verify(*parts(Hooks([OLD], None)))


def test_the_old_secret_is_accepted_while_it_is_changed_and_only_the_new_one_signs() -> None:
    both = Hooks([NEW, OLD], None)
    assert both.verify(*parts(Hooks([OLD], None)))
    assert parts(both) == parts(Hooks([NEW], None))


@given(mac=st.text(max_size=80))
def test_arbitrary_macs_do_not_verify_and_do_not_raise(mac: str) -> None:
    hooks = Hooks([NEW], None)
    assert hooks.verify(JOB, ATTEMPT, mac) == (mac == parts(hooks)[2])


@given(job=st.text(max_size=20), attempt=st.text(max_size=9))
def test_surrogates_and_control_characters_do_not_raise(job: str, attempt: str) -> None:
    assert not Hooks([NEW], None).verify(job, attempt, "x")


def test_no_public_address_no_hook() -> None:
    assert Hooks([NEW], None).url(JOB, 1) is None


@given(own=st.text(max_size=255))
def test_the_callers_state_follows_the_token_where_it_fits(own: str) -> None:
    hooks = Hooks([NEW], None)
    state = hooks.state(JOB, 3, own)
    assert len(state) <= 255
    assert state in (hooks.token(JOB, 3), f"{hooks.token(JOB, 3)} {own}")
    if own and len(hooks.token(JOB, 3)) + 1 + len(own) <= 255:
        assert state.endswith(own)


def test_no_secret_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="secret"):
        Hooks([], None)


def test_a_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with ThreadPoolExecutor(8) as pool:
        tokens = {hooks.token(JOB, 3) for hooks in pool.map(lambda _: Hooks.from_settings(settings), range(16))}
    assert len(tokens) == 1, "whichever process was first, all sign alike"
    (secret,) = list(settings.data_dir.iterdir())
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_an_empty_secret_signs_nothing(tmp_path: Path) -> None:
    """Anybody could sign with it."""
    (tmp_path / "hook-secret").touch()
    with pytest.raises(SettingsError, match="hook-secret is empty"):
        Hooks.from_settings(Settings(data_dir=tmp_path))


def test_secrets_come_from_the_settings(tmp_path: Path) -> None:
    settings = Settings.load(
        {"BLENDQ_HOOK_SECRET": NEW.decode(), "BLENDQ_HOOK_SECRET_PREVIOUS": OLD.decode()}, data_dir=tmp_path
    )
    hooks = Hooks.from_settings(settings)
    assert parts(hooks) == parts(Hooks([NEW], None))
    assert hooks.verify(*parts(Hooks([OLD], None)))
    assert list(tmp_path.iterdir()) == []
