"""`blendq webhook …`: the endpoints that are told what becomes of jobs and campaigns."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from jobs.errors import UsageError
from jobs.report import rfc3339, shown_link
from jobs.telling.notices import Kind
from jobs.telling.webhooks import OWN, Delivery, Webhook, Webhooks
from ops.cli.output import print_json, print_pairs
from ops.cli.place import Place, place_options
from ops.notes import note
from producer.campaign import check_name

TEST_WAIT_SECONDS = 20.0
_LOOK_SECONDS = 0.2
EVENTS = tuple(kind.value for kind in Kind if kind is not Kind.TEST)


@click.group()
def webhook() -> None:
    """Tell your own endpoints what becomes of jobs and campaigns (docs/webhooks.md)."""


@webhook.command("add")
@click.argument("url")
@click.option("--campaign", metavar="NAME", help="Only what becomes of this one (default: of all).")
@click.option("--events", metavar="EVENT,…", help=f"Only these, of {', '.join(EVENTS)} (default: all).")
@place_options
def add(
    url: str, campaign: str | None, events: str | None, sandbox: str | None, data_dir: Path | None, as_json: bool
) -> int:
    """Register an endpoint. Its secret is shown this once."""
    kinds = _kinds(events)
    name = None if campaign is None else check_name(campaign)
    with Place(data_dir, sandbox).producer() as producer:
        made = producer.store.webhooks.add(url, name, kinds)
    _tell_secret(made, as_json)
    return 0


@webhook.command("list")
@place_options
def list_webhooks(sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """List the endpoints, the oldest first."""
    with Place(data_dir, sandbox).producer() as producer:
        found = producer.store.webhooks.all()
    if as_json:
        print_json([_webhook_json(one) for one in found])
        return 0
    for one in found:
        click.echo("  ".join((one.id, str(shown_link(one.url)), *_filters(one))))
    if not found:
        note("there are no webhooks; `blendq webhook add URL` registers one")
    return 0


@webhook.command("show")
@click.argument("webhook_id", metavar="ID")
@place_options
def show(webhook_id: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Show an endpoint and its last 50 deliveries; those to jobs' own notify_hook with the ID `own`."""
    with Place(data_dir, sandbox).producer() as producer:
        found = None if webhook_id == OWN else producer.store.webhooks.get(webhook_id)
        deliveries = producer.store.webhooks.deliveries(webhook_id)
    facts: dict[str, Any] = {"id": OWN} if found is None else _webhook_json(found)
    if as_json:
        print_json(facts | {"deliveries": [_delivery_json(one) for one in deliveries]})
        return 0
    print_pairs({name: value for name, value in facts.items() if value})
    for one in deliveries:
        click.echo(f"{rfc3339(one.at)}  {_outcome(one)}  {one.seconds:.3f} s  {one.notice}")
    return 0


@webhook.command("remove")
@click.argument("webhook_id", metavar="ID")
@place_options
def remove(webhook_id: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Send nothing more there, and forget what waits."""
    with Place(data_dir, sandbox).producer() as producer:
        producer.store.webhooks.remove(webhook_id)
    _tell({"id": webhook_id, "removed": True}, f"{webhook_id} is removed", as_json)
    return 0


@webhook.command("enable")
@click.argument("webhook_id", metavar="ID")
@place_options
def enable(webhook_id: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Send to an endpoint again that was disabled by answering 410."""
    with Place(data_dir, sandbox).producer() as producer:
        made = producer.store.webhooks.enable(webhook_id)
    words = f"{webhook_id} is told what happens from now on; for what happened meanwhile: blendq webhook replay --since"
    _tell(_webhook_json(made), words, as_json)
    return 0


@webhook.command("rotate")
@click.argument("webhook_id", metavar="ID")
@place_options
def rotate(webhook_id: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Give an endpoint a new secret. The one before it signs too, until the next rotation."""
    with Place(data_dir, sandbox).producer() as producer:
        made = producer.store.webhooks.rotate(webhook_id)
    _tell_secret(made, as_json)
    return 0


@webhook.command("test")
@click.argument("webhook_id", metavar="ID")
@place_options
def test(webhook_id: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Let a worker send a `webhook.test`, and say what came of it."""
    with Place(data_dir, sandbox).producer() as producer:
        webhooks = producer.store.webhooks
        sent = _await(webhooks, webhook_id, webhooks.test(webhook_id))
    if sent is None:
        _tell({"id": webhook_id, "delivery": None}, "no worker has sent it yet; does `blendq up` run?", as_json)
        return 1
    words = f"{_outcome(sent)} after {sent.seconds:.3f} s"
    _tell({"id": webhook_id, "delivery": _delivery_json(sent)}, words, as_json)
    return 0 if _taken(sent) else 1


@webhook.command("replay")
@click.argument("event_id", metavar="[WEBHOOK-ID]", required=False)
@click.option("--since", metavar="TIME", help="All events since then, as 2030-01-31T12:00 (UTC).")
@place_options
def replay(event_id: str | None, since: str | None, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Send events of the last three days again, under their own ids, to all endpoints that want such."""
    if (event_id is None) == (since is None):
        raise UsageError("name one event by its webhook-id, or give --since")
    moment = None if since is None else _moment(since)
    with Place(data_dir, sandbox).producer() as producer:
        webhooks = producer.store.webhooks
        if moment is not None:
            count = webhooks.replay_since(moment)
        else:
            webhooks.replay(event_id or "")
            count = 1
    _tell({"replayed": count}, f"{count} events are sent again", as_json)
    return 0


def _await(webhooks: Webhooks, webhook_id: str, notice_id: str) -> Delivery | None:
    give_up_at = time.monotonic() + TEST_WAIT_SECONDS
    while time.monotonic() < give_up_at:
        for one in webhooks.deliveries(webhook_id):
            if one.notice == notice_id:
                return one
        time.sleep(_LOOK_SECONDS)
    return None


def _kinds(text: str | None) -> list[Kind]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if unknown := [name for name in names if name not in EVENTS]:
        raise UsageError(f"there is no event {unknown[0]!r}; there are {', '.join(EVENTS)}")
    if text is not None and not names:
        raise UsageError(f"--events names none; leave it out for all, or give some of {', '.join(EVENTS)}")
    return [Kind(name) for name in names]


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text[:40]!r} is no time; give it as 2030-01-31T12:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _filters(one: Webhook) -> list[str]:
    campaign = f"campaign {one.campaign}" if one.campaign else "all campaigns"
    events = ",".join(one.events) or "all events"
    return [campaign, events, *([f"disabled: {one.disabled}"] if one.disabled else [])]


def _webhook_json(one: Webhook) -> dict[str, Any]:
    """An endpoint without its secrets (I8)."""
    return {
        "id": one.id,
        "url": shown_link(one.url),
        "campaign": one.campaign,
        "events": list(one.events),
        "created_at": rfc3339(one.created_at),
        "disabled": one.disabled,
    }


def _delivery_json(one: Delivery) -> dict[str, Any]:
    times = {"at": rfc3339(one.at), "next_at": rfc3339(one.next_at)}
    return vars(one) | times


def _taken(one: Delivery) -> bool:
    return one.status is not None and one.status // 100 == 2


def _outcome(one: Delivery) -> str:
    words = f"HTTP {one.status}" if one.problem is None else one.problem
    return words if one.next_at is None else f"{words}; again at {rfc3339(one.next_at)}"


def _tell_secret(made: Webhook, as_json: bool) -> None:
    if as_json:
        print_json(_webhook_json(made) | {"secret": made.secrets[0]})
        return
    print_pairs({"id": made.id, "secret": made.secrets[0]})
    note("the secret is shown this once; it verifies what comes (docs/webhooks.md)")


def _tell(facts: dict[str, Any], words: str, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        click.echo(words)
