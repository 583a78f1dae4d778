"""The gallery: results as pages that open without a server, and load nothing from anywhere but their own folder."""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path, PurePath
from string import Template
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

from jobs.job import Job
from jobs.pictures.images import ImageStore
from jobs.report import source_name
from jobs.request import BlendRequest, BotType, is_data_url, is_digest
from producer.files import atomic_file
from producer.results.thumbnails import BLEND_PIXELS, SOURCE_PIXELS, Thumbnails

PAGE_CARDS = 1000
THUMBS = "thumbs"
UNFINISHED = "unfinished"
# In the order in which they are shown; everything that is still under way is one kind here.
KINDS = ("succeeded", "failed", "parked", "cancelled", UNFINISHED)
_BOTS = {BotType.MID_JOURNEY: "Midjourney", BotType.NIJI_JOURNEY: "Niji"}


class Card(NamedTuple):
    """One blend on a page.

    `file` is the picture's name in the folder; where it is None, `problem` (`kind`, `message`) tells why.
    """

    job: Job
    asked: BlendRequest
    file: str | None
    problem: Mapping[str, str] | None
    next_step: str | None

    @property
    def kind(self) -> str:
        return self.job.status.value if self.job.status.final else UNFINISHED


class Gallery:
    """`gallery.html`, and `gallery-2.html` and so on for more than 1000 cards.

    Args:
        folder: where the pages go, beside the pictures that they show.
        images: for the thumbnails.

    The cards wait in a temporary file, since the head of each page has the counts of all.
    """

    def __init__(self, folder: Path, images: ImageStore) -> None:
        self.path = folder / page_name(1)
        self._folder = folder
        self._exits = ExitStack()
        self._thumbs = self._exits.enter_context(Thumbnails(folder / THUMBS, images))
        self._spool = self._exits.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  (ends with the rest)
        self._ends: list[int] = []
        self._kinds: list[Counter[str]] = []
        self._room = 0
        self._campaign: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exits.close()

    def add(self, cards: Sequence[Card]) -> None:
        """Add cards, in the order in which they are to stand."""
        thumbs = self._thumbs.make(pair for card in cards for pair in _pictures(card))
        for card in cards:
            self._campaign = self._campaign or card.job.campaign
            if not self._room:
                self._room = PAGE_CARDS
                self._ends.append(0)
                self._kinds.append(Counter())
            self._spool.write(_card(card, thumbs).encode(errors="xmlcharrefreplace"))
            self._ends[-1] = self._spool.tell()
            self._kinds[-1][card.kind] += 1
            self._room -= 1

    def finish(self, total: int) -> None:
        """Write the pages, and remove those that a longer export has left.

        Args:
            total: how many jobs there should be, at least as many as cards.
        """
        now = datetime.now(UTC)
        ends = self._ends or [0]
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False), 1):
            self._spool.seek(start)
            cards = self._spool.read(end - start).decode()
            with atomic_file(self._folder / page_name(number)) as file:
                file.write(self._page(number, len(ends), cards, now, total).encode())
        number = len(ends) + 1
        while (old := self._folder / page_name(number)).exists():
            old.unlink()
            number += 1

    def _page(self, number: int, pages: int, cards: str, now: datetime, total: int) -> str:
        kinds = sum(self._kinds, Counter())
        here = self._kinds[number - 1] if self._kinds else Counter[str]()
        style = _asset("gallery.css")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        title = f"Blends: {self._campaign}" if self._campaign else "Blends"
        return Template(_asset("gallery.html")).substitute(
            style_hash=digest,
            style=style,
            title=escape(title) + (f" ({number} of {pages})" if pages > 1 else ""),
            heading=escape(self._campaign or "Blends"),
            bar=_bar(kinds),
            counts=_counts(kinds, total),
            date=now.strftime("%Y-%m-%d %H:%M UTC"),
            machine_date=now.isoformat(timespec="seconds"),
            filters=_filters(here),
            cards=cards,
            pages=_page_links(number, pages),
        )


def page_name(number: int) -> str:
    return "gallery.html" if number == 1 else f"gallery-{number}.html"


@cache
def _asset(name: str) -> str:
    return files("producer.results").joinpath(name).read_text(encoding="utf-8")


def _pictures(card: Card) -> list[tuple[str, int]]:
    sources = [(digest, SOURCE_PIXELS) for digest in card.job.request.images]
    if card.file and card.job.picture:
        return [(card.job.picture.digest, BLEND_PIXELS), *sources]
    return sources


def _card(card: Card, thumbs: Mapping[tuple[str, int], str]) -> str:
    job = card.job
    name = escape(card.asked.custom_id or job.id)
    sources = [_short(image) for image in card.asked.images]
    facts = [_made_of(job), job.request.dimensions.value.lower(), _BOTS[job.request.bot_type], _sent(job)]
    return (
        f'<li class="card {card.kind}">\n'
        f"{_blend(card, thumbs, sources)}\n"
        f'<ul class="sources" aria-label="Blended from">{_sources(card, thumbs, sources)}</ul>\n'
        f'<div class="words"><h2 title="{name}">{name}</h2>'
        f'<span class="badge">{escape(job.status.value)}</span>\n'
        f'<p class="facts">{" · ".join(fact for fact in facts if fact)}</p>\n'
        f"{_trouble(card)}</div>\n"
        "</li>\n"
    )


def _made_of(job: Job) -> str:
    """What a follow-up is; nothing for a blend."""
    return f"{job.follows.action.kind.lower()} {job.follows.action.quarter or ''}".strip() if job.follows else ""


def _blend(card: Card, thumbs: Mapping[tuple[str, int], str], sources: Sequence[str]) -> str:
    if card.file is None or card.job.picture is None:
        words = "no picture yet" if card.kind == UNFINISHED else "no picture"
        return f'<div class="blend none"><span>{words}</span></div>'
    thumb = thumbs.get((card.job.picture.digest, BLEND_PIXELS))
    address = f"{THUMBS}/{thumb}" if thumb else quote(card.file)
    alt = escape("Blend of " + ", ".join(sources))
    return f'<a class="blend" href="{quote(card.file)}"><img src="{address}" alt="{alt}" loading="lazy"></a>'


def _sources(card: Card, thumbs: Mapping[tuple[str, int], str], names: Sequence[str]) -> str:
    items = []
    for digest, name in zip(card.job.request.images, names, strict=False):
        text = escape(name)
        thumb = thumbs.get((digest, SOURCE_PIXELS))
        picture = f'<img src="{THUMBS}/{thumb}" alt="{text}" loading="lazy">' if thumb else f"<span>{text}</span>"
        items.append(f'<li title="{text}">{picture}</li>')
    return "".join(items)


def _short(image: str) -> str:
    """A source picture as people call it: without the folders, and never with its data."""
    if is_digest(image):
        return f"picture {image[7:15]}…"
    return "picture" if is_data_url(image) else PurePath(source_name(image)).name or source_name(image)


def _sent(job: Job) -> str:
    sent = job.commits
    return f"sent {sent} times" if sent > 1 else ""


def _trouble(card: Card) -> str:
    if card.file is not None:
        return ""
    reason = f'<p class="reason">{escape(card.problem["message"])}</p>' if card.problem else ""
    words = f'<p class="next">{_with_code(card.next_step)}</p>' if card.next_step and card.kind != UNFINISHED else ""
    return reason + words


def _with_code(text: str) -> str:
    """What stands between backticks is a command."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _bar(kinds: Counter[str]) -> str:
    """The shares of all kinds as one line; in SVG, since the page's policy allows no style but its own sheet."""
    total = max(1, kinds.total())
    parts, x = [], 0.0
    for kind in KINDS:
        width = 1000 * kinds[kind] / total
        if width:
            parts.append(f'<rect class="{kind}" x="{x:.2f}" y="0" width="{width:.2f}" height="10"/>')
        x += width
    return "".join(parts)


def _counts(kinds: Counter[str], total: int) -> str:
    rows = [("all", total), *((kind, kinds[kind]) for kind in KINDS)]
    return "".join(
        f'<div class="{kind}"><dt>{"blends" if kind == "all" else kind}</dt><dd>{count:,}</dd></div>'
        for kind, count in rows
        if count
    )


def _filters(kinds: Counter[str]) -> str:
    """Nothing to choose where all are of one kind."""
    present = [kind for kind in KINDS if kinds[kind]]
    if len(present) < 2:
        return ""
    choices = [("all", kinds.total()), *((kind, kinds[kind]) for kind in present)]
    return (
        '<fieldset class="filter"><legend>Show</legend>'
        + "".join(_choice(*choice) for choice in choices)
        + "</fieldset>"
    )


def _choice(kind: str, count: int) -> str:
    checked = " checked" if kind == "all" else ""
    return (
        f'<label class="{kind}"><input type="radio" name="show" id="show-{kind}"{checked}>'
        f"<span>{kind} <b>{count:,}</b></span></label>"
    )


def _page_links(number: int, pages: int) -> str:
    if pages < 2:
        return ""
    links = []
    for page in range(1, pages + 1):
        current = ' aria-current="page"' if page == number else ""
        links.append(f'<a href="{page_name(page)}"{current}>{page}</a>')
    return f'<nav class="pages" aria-label="Pages">{"".join(links)}</nav>'
