"""The harness' scaled times must stay the product's: a renamed constant would quietly keep its full length."""

from __future__ import annotations

import importlib

import pytest

from jobs.settings import Settings
from ops.chaos.quick import CONSTANTS, ENTRANCES, SETTINGS, product_modules


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_every_scaled_constant_is_one_of_the_product(name: str) -> None:
    for entrance in ENTRANCES.values():
        importlib.import_module(entrance)
    assert any(name in vars(module) for module in product_modules())


def test_every_scaled_setting_is_one_of_the_product() -> None:
    assert SETTINGS.keys() <= Settings.model_fields.keys()
