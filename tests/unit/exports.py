"""Results as tests export them: rows with their jobs, and what is in a folder afterwards."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

from jobs.attempt import Attempt
from jobs.job import Job, Picture, Reason, Status
from jobs.pictures.images import ImageStore
from jobs.request import BlendRequest
from jobs.store import JobStore
from producer.manifests.manifest import Row
from producer.results.export import PLAIN, ExportSummary, Form, export, with_jobs

NOW = datetime(2030, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
EVIL = "<script>alert('1')</script>\"&`${x}`"


class FakeStore:
    """The one call of the store that export makes; the real store has tests of its own."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = {job.id: job for job in jobs}

    def find_many(self, job_ids: Sequence[str]) -> list[Job | None]:
        assert len(job_ids) <= 500
        return [self._jobs.get(job_id) for job_id in job_ids]


def png(color: str = "teal", size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def entry(
    store: ImageStore, number: int, status: Status = Status.SUCCEEDED, /, **fields: Any
) -> tuple[tuple[Row, str], Job]:
    """A row of a manifest and its job."""
    source = store.put_bytes(png("red"), name="a").digest
    blend = store.put_bytes(png(f"#{number:06x}"), name="b")
    picture = Picture(
        digest=blend.digest,
        media_type=blend.media_type,
        width=40,
        height=30,
        bytes=blend.bytes,
        url="https://cdn.test/x",
    )
    asked = BlendRequest.parse({"images": ["/in/a.png", "/in/b.png"]} | fields)
    job = Job(
        id=f"job_{number}",
        campaign="c",
        request=asked.with_images((source, source)),
        created_at=NOW,
        status=status,
        picture=picture if status is Status.SUCCEEDED else None,
        reason=Reason(kind="unsure", message=f"no answer {EVIL}") if status in (Status.FAILED, Status.PARKED) else None,
        attempts=(Attempt(number=1, claimed_at=NOW, committed_at=NOW, code=1, description="ok", task_id="7"),),
        current=1,
        commits=1,
        finished_at=NOW if status.final else None,
    )
    return (Row(number + 2, asked), job.id), job


def exported(
    images: ImageStore, out: Path, pairs: Sequence[tuple[tuple[Row, str], Job]], form: Form = PLAIN
) -> ExportSummary:
    store: Any = FakeStore([job for _, job in pairs])
    wanted: JobStore = store
    return export(with_jobs((row for row, _ in pairs), wanted), wanted, images, out, form)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for found, value in self.attributes if found == name]
