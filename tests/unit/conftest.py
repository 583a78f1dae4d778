"""Where results come from, and where they go."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.pictures.images import ImageStore


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store", max_bytes=10_000_000, max_pixels=10_000_000)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "out"
