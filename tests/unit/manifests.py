"""Manifests as tests write them, and what becomes of them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from jobs.errors import ManifestError
from jobs.pictures.images import ImageStore, StoredImage
from jobs.request import BlendRequest
from producer.manifests.manifest import load_manifest

DIGEST = "sha256:" + "ab" * 32
DATA_URL = "data:image/png;base64,iVBORw0KGgo="


def written(folder: Path, text: str | bytes, name: str = "m.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def only_request(folder: Path, text: str, name: str = "m.csv") -> BlendRequest:
    (row,) = load_manifest(written(folder, text, name))
    return row.request


def problems(folder: Path, text: str, name: str = "m.csv") -> list[str]:
    with pytest.raises(ManifestError) as caught:
        load_manifest(written(folder, text, name))
    assert caught.value.problems
    return [str(problem) for problem in caught.value.problems]


def refusal(folder: Path, text: str | bytes, name: str = "m.csv") -> str:
    """The text of an error about the file as a whole."""
    with pytest.raises(ManifestError) as caught:
        load_manifest(written(folder, text, name))
    assert caught.value.problems == ()
    assert str(caught.value).startswith(str(folder / name) + ": ")
    return str(caught.value).removeprefix(str(folder / name) + ": ")


def png(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(file, "PNG")
    return file.getvalue()


class CountingStore(ImageStore):
    reads = 0

    def put_file(self, path: Path, *, root: Path | None = None) -> StoredImage:
        self.reads += 1
        return super().put_file(path, root=root)
