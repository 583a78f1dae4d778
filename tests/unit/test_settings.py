"""Settings that cannot be are told without what they say, and so is what stands behind the error (I8)."""

from __future__ import annotations

import traceback

import pytest
from pydantic import ValidationError

from jobs.errors import SettingsError
from jobs.settings import Settings

SESAME = "sesame-0pen"
WRONG = {
    "redis_url": f"redis://worker:{SESAME}@redis:port/0",
    "webhook_secret": f"whsec_{SESAME}",
    "hook_secret": SESAME,
    "api_url": f"http://user:{SESAME}@api.test",
    "public_url": f"http://user:{SESAME}@hooks.test",
    "upstreams": f'[{{"name": "a", "url": "http://a.test", "key": "{SESAME}", "wait": 1}}, "{SESAME}"]',
}


def test_settings_that_are_printed_show_no_secret() -> None:
    said = repr(Settings(redis_url=f"redis://worker:{SESAME}@redis:6379/0", api_key=SESAME, hook_secret=SESAME * 2))
    assert "redis_url" not in said
    assert SESAME not in said


@pytest.mark.parametrize("character", "＠：")
@pytest.mark.parametrize("name", ["redis_url", "api_url", "public_url"])
def test_an_address_of_characters_that_look_right_is_refused_without_its_password(name: str, character: str) -> None:
    """As an input method for Chinese writes them; Python's own words quote the whole address."""
    with pytest.raises(SettingsError, match=f"{name}: must look like") as refused:
        Settings.load({f"BLENDQ_{name.upper()}": f"redis://me:{SESAME}{character}host:6379/0"})
    assert SESAME not in "".join(traceback.format_exception(refused.value))


def test_a_port_that_is_none_is_not_quoted() -> None:
    with pytest.raises(SettingsError, match="api_url: must look like") as refused:
        Settings.load({"BLENDQ_API_URL": f"https://me:{SESAME}"})
    assert SESAME not in str(refused.value)


@pytest.mark.parametrize("name", WRONG)
def test_a_value_is_shown_by_no_error_and_by_none_behind_it(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load({f"BLENDQ_{name.upper()}": WRONG[name]})
    assert name in str(refused.value)
    assert SESAME not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(ValidationError) as refused_too:
        Settings.model_validate({name: WRONG[name]})
    assert SESAME not in str(refused_too.value)
