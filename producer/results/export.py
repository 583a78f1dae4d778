"""Export: a campaign's results as a folder: pictures, `results.jsonl`, `errors.jsonl` and `gallery.html`.

Everything in it is made from the record and the image store, so it can be made again at any time; and what is
there already and is right is left as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from string import Formatter
from typing import Any, BinaryIO, NamedTuple

from jobs.errors import BlendqError, UsageError
from jobs.follow_ups import request_of
from jobs.job import Job, Status
from jobs.pictures.images import ImageStore, StoredImage
from jobs.report import result
from jobs.store import JobStore
from producer.files import Names, alone_in, atomic_file, compared, place_bytes, place_copy
from producer.manifests.manifest import Row
from producer.report import next_step
from producer.results.embedding import embed, origin
from producer.results.gallery import Card, Gallery
from producer.results.quarters import place_quarters
from producer.results.table import Table

RESULTS, ERRORS = "results.jsonl", "errors.jsonl"
PAGE_JOBS = 500
_NAME_FIELDS = ("custom_id", "id", "number")
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}
# Line ends to some readers, though not to JSON: a line of JSONL must be one line to all of them.
_LINE_ENDS = [(end.encode(), f"\\u{ord(end):04x}".encode()) for end in "\x85\u2028\u2029"]
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class ExportSummary:
    """What an export came to. `written` and `unchanged` count pictures, `not_found` rows that have no record."""

    folder: Path
    counts: Mapping[Status, int]
    written: int
    unchanged: int
    not_found: int
    gallery: Path

    @property
    def total(self) -> int:
        return sum(self.counts.values()) + self.not_found


@dataclass(frozen=True)
class Form:
    """How results are written.

    Args:
        template: a picture's name; `{custom_id}` (the id where there is none), `{id}` and `{number}`, the row's, stand
            for what they say.
        split: the quarters of each picture too.
        table: `results.csv` too.
        embed: each picture says in its own file where it comes from.

    Raises:
        UsageError: the template names something else, or another folder.
    """

    template: str = "{custom_id}"
    split: bool = False
    table: bool = False
    embed: bool = False

    def __post_init__(self) -> None:
        try:
            fields = [field for field in Formatter().parse(self.template) if field[1] is not None]
        except ValueError as error:
            raise UsageError(f"name {self.template!r}: {error}; write {{custom_id}}, {{id}} or {{number}}") from error
        if not fields or any(name not in _NAME_FIELDS or spec or how for _, name, spec, how in fields):
            raise UsageError(f"name {self.template!r}: must have {{custom_id}}, {{id}} or {{number}}, and no others")
        if "/" in self.template or "\\" in self.template:
            raise UsageError(f"name {self.template!r}: is of a file in the folder, so it takes no / and no \\")

    def name(self, row: Row, job_id: str) -> str:
        return self.template.format(custom_id=row.request.custom_id or job_id, id=job_id, number=row.line)


PLAIN = Form()


class Entry(NamedTuple):
    """A row with its job, which is None where there is no record of it."""

    row: Row
    job_id: str
    job: Job | None


def with_jobs(rows: Iterable[tuple[Row, str]], store: JobStore) -> Iterator[Entry]:
    """Rows that have the ids of their jobs, with those; read a page at a time."""
    rest = iter(rows)
    while page := list(islice(rest, PAGE_JOBS)):
        jobs = store.find_many([job_id for _, job_id in page])
        yield from (Entry(row, job_id, job) for (row, job_id), job in zip(page, jobs, strict=True))


def export(
    entries: Iterable[Entry],
    store: JobStore,
    images: ImageStore,
    out: Path,
    form: Form = PLAIN,
    sources: Iterable[str] = (),
) -> ExportSummary:
    """Write the results of a manifest into a folder.

    Args:
        entries: each row of the manifest, as it was given, with its job; the order of everything. Held a page at a
            time. Follow-ups are found by themselves.
        store: where the jobs are.
        images: where the pictures are.
        out: the folder; made if it is missing. Other files in it are left alone.
        form: what is written beside, and the pictures' names.
        sources: names of files in the folder that are blended: no blend, and no quarter of one, takes the place of
            any. Else the next run would find another picture there, and blend and pay anew.

    Raises:
        BlendqError: the folder cannot be written. No picture is lost: the image store has them.
        StoreUnavailable: Redis does not answer.
    """
    with _disk_trouble(out), ExitStack() as stack:
        out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(alone_in(out))
        results = stack.enter_context(atomic_file(out / RESULTS))
        errors = stack.enter_context(atomic_file(out / ERRORS))
        gallery = stack.enter_context(Gallery(out, images))
        table = Table(stack.enter_context(atomic_file(out / "results.csv"))) if form.table else None
        work = _Export(store, images, out, form, results, errors, gallery, table, set(map(compared, sources)))
        rest = iter(entries)
        while page := list(islice(rest, PAGE_JOBS)):
            work.add_page(page)
        gallery.finish(work.told)
        return work.summary()


@dataclass
class _Export:
    """One export under way."""

    store: JobStore
    images: ImageStore
    out: Path
    form: Form
    results: BinaryIO
    errors: BinaryIO
    gallery: Gallery
    table: Table | None
    sources: Set[str]
    names: Names = field(default_factory=Names)
    counts: Counter[Status] = field(default_factory=Counter)
    written: int = 0
    unchanged: int = 0
    not_found: int = 0
    told: int = 0

    def add_page(self, page: Sequence[Entry]) -> None:
        cards: list[Card] = []
        for row, job_id, job in page:
            name = self.names.claim(self.form.name(row, job_id), job_id)
            if job is None:
                self._not_found(row, job_id)
            else:
                cards += self._with_follow_ups(row, job, name)
        self.gallery.add(cards)

    def _with_follow_ups(self, row: Row, job: Job, name: str) -> Iterator[Card]:
        """Each is told of behind its parent, and named after it."""
        yield self._add(row, job, name)
        for one in self.store.find_many(job.follow_ups) if job.follow_ups else ():
            if one is not None and one.follows is not None:
                asked = row._replace(request=request_of(one.follows, row.request))
                yield from self._with_follow_ups(asked, one, self.names.claim(f"{name}-{one.follows.label}", one.id))

    def _add(self, row: Row, job: Job, name: str) -> Card:
        self.counts[job.status] += 1
        file = self._place(row, job, name)
        line = result(job, row.request, file)
        if file and self.form.split and job.is_grid and (quarters := self._split(job, name, file)):
            line["quarters"] = quarters
        self._tell(line)
        problem = line["reason"]
        next_words = next_step(job)
        if job.status is Status.SUCCEEDED and file is None:
            problem = {"kind": "picture_missing", "message": "its picture is gone from the image store"}
            next_words = "look for another copy of the image store; the record still has the picture's address"
        if file is None:
            self.errors.write(_line(line | {"reason": problem, "line": row.line, "next_step": next_words}))
        return Card(job, row.request, file, problem, next_words)

    def _tell(self, line: Mapping[str, Any]) -> None:
        self.told += 1
        self.results.write(_line(line))
        if self.table:
            self.table.add(line)

    def _split(self, job: Job, name: str, file: str) -> list[str]:
        """The quarters' files, beside the picture's; none where it is too small for them."""
        owners = [f"{job.id}.{quarter}" for quarter in range(1, 5)]
        names = [self.names.claim(f"{name}.{quarter}", owner) for quarter, owner in enumerate(owners, 1)]
        files = [self._beside_sources(*each, Path(file).suffix) for each in zip(names, owners, strict=True)]
        return files if place_quarters(self.out / file, [self.out / one for one in files]) else []

    def _place(self, row: Row, job: Job, name: str) -> str | None:
        """The picture's file in the folder, relative to it; None when there is no picture."""
        if job.picture is None or job.status is not Status.SUCCEEDED:
            return None
        stored = self.images.find(job.picture.digest)
        if stored is None:
            return None
        file = self._beside_sources(name, job.id, f".{EXTENSIONS[stored.media_type]}")
        if place_picture(stored, self.out / file, origin(job, row.request) if self.form.embed else None):
            self.written += 1
        else:
            self.unchanged += 1
        return file

    def _beside_sources(self, name: str, owner: str, suffix: str) -> str:
        """The file of this name; of another one where a picture that is blended has it."""
        while compared(file := name + suffix) in self.sources:
            # Each time somebody else's: a name that is as long as may be only gets a number.
            owner = f"{owner} instead of {name}"
            name = self.names.claim(f"{name}-blend", owner)
        return file

    def _not_found(self, row: Row, job_id: str) -> None:
        self.not_found += 1
        reason = {"kind": "job_not_found", "message": "there is no record of this job"}
        line = {"id": job_id, "custom_id": row.request.custom_id, "status": None, "picture": None, "reason": reason}
        self._tell(line)
        self.errors.write(_line(line | {"line": row.line, "next_step": "enqueue the manifest again"}))

    def summary(self) -> ExportSummary:
        counts = {status: self.counts[status] for status in Status if self.counts[status]}
        return ExportSummary(self.out, counts, self.written, self.unchanged, self.not_found, self.gallery.path)


def place_picture(stored: StoredImage, target: Path, facts: dict[str, Any] | None = None) -> bool:
    """Put a copy of a stored picture somewhere; returns whether anything had to be written.

    Args:
        stored: the picture.
        target: the file.
        facts: what the copy is to say of where it comes from; None for nothing.
    """
    if facts is None:
        return place_copy(stored.path, target, stored.digest)
    return place_bytes(embed(stored.path.read_bytes(), stored.media_type, facts), target, stored.path)


def _line(value: Mapping[str, Any]) -> bytes:
    line = _encoder.encode(value).encode(errors="backslashreplace")  # half a surrogate pair stays what it is: \udc80
    for end, escaped in _LINE_ENDS:
        line = line.replace(end, escaped)
    return line + b"\n"


@contextmanager
def _disk_trouble(out: Path) -> Iterator[None]:
    try:
        yield
    except BlendqError:  # one of them is an OSError as well
        raise
    except OSError as error:
        where = error.filename or out
        raise BlendqError(
            f"results cannot be written: {where}: {error.strerror or error}; mend that, or choose another folder, "
            "and run the same command again: no picture is lost, and nothing is paid again"
        ) from error
