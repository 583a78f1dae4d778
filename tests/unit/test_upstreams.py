"""The settings of several upstreams: one or a list, names that are told apart, keys that nobody sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.errors import SettingsError
from jobs.request import Mode
from jobs.settings import Settings
from jobs.upstreams import ApiAuth
from ops.cli.settings import describe

KEY = "sk-nobody-sees-this"
TWO = [
    {"name": "main", "url": "https://one.example/", "key": KEY},
    {"name": "spare", "url": "https://two.example", "auth": "bearer", "weight": 0.5, "modes": ["FAST"], "slots": 6},
]


def load(**environment: str) -> Settings:
    return Settings.load({f"BLENDQ_{name}": value for name, value in environment.items()})


def test_one_api_is_called_default() -> None:
    (only,) = load(API_URL="https://one.example", API_KEY=KEY, API_AUTH="bearer", SLOTS="7").apis
    assert (only.name, only.url, only.auth, only.slots) == ("default", "https://one.example", ApiAuth.BEARER, 7)
    assert only.key is not None
    assert only.key.get_secret_value() == KEY
    assert load().apis == ()


def test_a_list_comes_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    config = tmp_path / "blendq.toml"
    config.write_text(
        f'[[upstreams]]\nname = "main"\nurl = "https://one.example/"\nkey = "{KEY}"\n'
        '[[upstreams]]\nname = "spare"\nurl = "https://two.example"\nauth = "bearer"\nweight = 0.5\n'
        'modes = ["FAST"]\nslots = 6\n'
    )
    listed, filed = load(UPSTREAMS=json.dumps(TWO)), load(CONFIG=str(config))
    assert listed.apis == filed.apis
    main, spare = listed.apis
    assert (main.url, main.weight, main.modes, main.slots) == ("https://one.example", 1.0, (), None)
    assert (spare.auth, spare.weight, spare.modes, spare.slots) == (ApiAuth.BEARER, 0.5, (Mode.FAST,), 6)


def test_a_child_process_gets_the_same_list() -> None:
    settings = load(UPSTREAMS=json.dumps(TWO))
    apis = settings.apis  # to have looked at it changes nothing
    child = Settings.load(settings.to_environment())
    assert child.apis == apis
    assert child.apis[0].key is not None
    assert child.apis[0].key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("upstreams", "others", "said"),
    [
        (TWO, {"API_URL": "https://x"}, "api_url and upstreams are both set"),
        (TWO, {"SLOTS": "3"}, "slots and upstreams are both set"),
        ([TWO[0], TWO[0]], {}, "two are called main"),
        ([{"name": "Main", "url": "https://x"}], {}, "upstreams.0.name must look like"),
        ([{"name": "main", "url": "htp:/x"}], {}, "upstreams.0.url: must look like https://host"),
        ([{"name": "main"}], {}, "upstreams.0.url is missing"),
        ([{"name": "main", "url": "https://x", "key": KEY, "kee": KEY}], {}, "unknown setting 'upstreams.0.kee'"),
        ([{"name": "main", "url": "https://x", "modes": ["SLOW"]}], {}, "upstreams.0.modes.0 must be one of"),
        ([{"name": "main", "url": "https://x", "weight": 0}], {}, "upstreams.0.weight must be more than 0"),
    ],
)
def test_what_cannot_be_is_said_without_a_key(upstreams: object, others: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(UPSTREAMS=json.dumps(upstreams), **others)
    assert said in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("text", [f'[{{"key": "{KEY}"', f'"{KEY}"', f'{{"key": "{KEY}"}}'])
def test_what_is_no_list_is_said_without_its_text(text: str) -> None:
    with pytest.raises(SettingsError, match="upstreams") as refused:
        load(UPSTREAMS=text)
    assert KEY not in str(refused.value)


def test_the_list_of_settings_shows_no_key() -> None:
    rows = {row["name"]: row for row in describe({"BLENDQ_UPSTREAMS": json.dumps(TWO)})}
    told = "main (https://one.example, key set), spare (https://two.example, key not set)"
    assert (rows["upstreams"]["value"], rows["upstreams"]["default"]) == (told, "not set")
    assert KEY not in str(rows) + repr(load(UPSTREAMS=json.dumps(TWO)))
