"""`blendq submit`, `blendq job …`: single jobs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from jobs.applying import Applied
from jobs.errors import BlendqError, UsageError
from jobs.ids import ID
from jobs.job import DEFAULT_CAMPAIGN, Job, Status
from jobs.pictures.images import StoredImage
from jobs.report import parent_json, result, rfc3339
from jobs.request import BlendRequest
from jobs.store import JobStore
from jobs.upstreams import check_named
from ops.cli.job_view import job_lines
from ops.cli.options import reuse_option
from ops.cli.output import print_json
from ops.cli.place import Place, place_options
from ops.cli.request_options import request_fields, request_options
from ops.cli.run_options import embed_option
from ops.cli.values import Number
from ops.notes import note
from producer.following import Finished
from producer.report import next_step, whole_record
from producer.results.embedding import embedded, origin
from producer.results.export import place_picture
from producer.waiting import why_waiting

NO_PICTURE = 3


# submit ------------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@request_options
@click.option("--custom-id", metavar="NAME", help="Your own name for the job.")
@click.option("--campaign", default=DEFAULT_CAMPAIGN, show_default=True, metavar="NAME", help="Where it belongs.")
@click.option("--idempotency-key", metavar="KEY", help="The same key is the same job, however often it is submitted.")
@reuse_option
@click.option("--wait", is_flag=True, help="Wait for the picture, and print its file's name.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Put the picture there; with --wait.")
@embed_option
@click.option("--timeout", type=Number(0, min_open=True), metavar="SECONDS", help="Wait at most so long.")
@place_options
def submit(
    images: tuple[str, ...],
    campaign: str,
    idempotency_key: str | None,
    reuse: bool,
    wait: bool,
    out: Path | None,
    embed: bool,
    timeout: float | None,
    sandbox: str | None,
    data_dir: Path | None,
    as_json: bool,
    **fields: Any,
) -> int:
    """Enqueue one blend of 2 to 5 pictures, and print its id.

    The same pictures with the same options are the same job: submitted twice, it is paid once. A worker has to run:
    `blendq up` in another terminal.

    \b
    blendq submit a.png b.jpg --dimensions PORTRAIT
    blendq submit a.png b.jpg --wait --timeout 600
    """
    place = Place(data_dir, sandbox)
    for option, given, needed, needs in (("--out", out, wait, "--wait"), ("--embed", embed, out, "--out")):
        if given and not needed:
            raise UsageError(f"{option} is for {needs}; add it, or leave {option} out")
    request = BlendRequest.parse({"images": images, **request_fields(fields)})
    check_named(request.upstream, place.upstream_names)
    _check_wait(place, wait, timeout)
    with place.producer() as producer:
        job = producer.enqueue(request, campaign=campaign, idempotency_key=idempotency_key, reuse=reuse)
        if not wait:
            _tell_enqueued(job, place, as_json)
            return 0
        note(f"waiting for {job.id}; it goes on without this command too")
        finished = producer.wait(job, timeout)
        if out and finished.job.picture and (stored := producer.images.find(finished.job.picture.digest)):
            finished = replace(finished, picture=_put(stored, out, origin(finished.job, request) if embed else None))
        return _tell_finished(finished, request, as_json)


def _put(stored: StoredImage, out: Path, facts: dict[str, Any] | None) -> Path:
    try:
        place_picture(stored, out, facts)
    except OSError as error:
        raise BlendqError(f"{out}: {error.strerror}; the picture is in {stored.path}") from error
    return out


def _check_wait(place: Place, wait: bool, timeout: float | None) -> None:
    if timeout is not None and not wait:
        raise UsageError("--timeout is for --wait; add it, or leave --timeout out")
    if wait and not place.worked_on:
        raise UsageError(
            f"nothing works on {place.settings.data_dir}, so there is nothing to wait for; "
            f"start `blendq up{place.options}` in another terminal first"
        )


def _tell_enqueued(job: Job, place: Place, as_json: bool) -> None:
    if as_json:
        about = {"custom_id": job.request.custom_id, "campaign": job.campaign, "created_at": rfc3339(job.created_at)}
        about |= parent_json(job)
        print_json({"id": job.id, "status": job.status, **about})
    else:
        click.echo(job.id)
    note(f"{job.status}; look at it with: blendq job show {job.id}{place.options}")
    if not job.status.final and not place.worked_on:
        note(f"nothing works on it yet: start `blendq up{place.options}`")


def _tell_finished(finished: Finished, request: BlendRequest, as_json: bool) -> int:
    job = finished.job
    picture = str(finished.picture) if finished.picture else None
    if as_json:
        print_json(result(job, request, picture))
    elif picture:
        click.echo(picture)
    if job.status is Status.SUCCEEDED:
        return 0
    note(f"{job.id} {job.status}: {job.reason.message if job.reason else 'as ordered'}; {next_step(job)}")
    return NO_PICTURE


# job ---------------------------------------------------------------------------------------------------------------


@click.group()
def job() -> None:
    """Look at one job, carry it on, cancel it, or try it again."""


@job.command("show")
@click.argument("job_id", metavar="ID|PICTURE")
@place_options
def show_job(job_id: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Show a job: its record, its attempts, and everything it has been through. A finished picture's file will do."""
    place = Place(data_dir, sandbox)
    with place.known_jobs() as producer:
        found = producer.get(_named(producer.store, job_id))
        waiting = why_waiting(producer.store, place.settings, found)
        history = producer.store.history(found.id)
        follow_ups = producer.follow_ups(found)
        stored = producer.images.find(found.picture.digest) if found.picture else None
    path = stored.path if stored else None
    if as_json:
        more = {"picture_path": str(path) if path else None, "waits": waiting and waiting.to_json()}
        print_json(whole_record(found, history, follow_ups) | more)
        return 0
    for line in job_lines(found, history, path, follow_ups, waiting):
        click.echo(line)
    return 0


def _named(store: JobStore, name: str) -> str:
    """The id of the job that is meant: by itself, or by a picture, which says it or is known."""
    path = Path(name)
    if ID.fullmatch(name) or not path.is_file():
        return name
    try:
        facts = embedded(path)
        with path.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    found = (facts or {}).get("job") or store.find_by_picture(digest)
    if not isinstance(found, str):
        raise UsageError(f"{path}: says of no job, and is no job's picture as it came; export with --embed")
    return found


@job.command("act")
@click.argument("job_id", metavar="ID")
@click.argument("actions", nargs=-1, required=True, metavar="ACTION...")
@click.option("--again", is_flag=True, help="One more of each, though there is one; not of upscales.")
@click.option("--wait", is_flag=True, help="Wait for the pictures, and print their files' names.")
@click.option("--timeout", type=Number(0, min_open=True), metavar="SECONDS", help="Wait at most so long.")
@place_options
def act_on_job(
    job_id: str,
    actions: tuple[str, ...],
    again: bool,
    wait: bool,
    timeout: float | None,
    sandbox: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Carry a finished grid on: U1 to U4 upscale a quarter, V1 to V4 vary it, R makes another grid.

    Each becomes a job of its own, is paid for, and its id is printed. The same action of the same job is the same
    job: ordered twice, it is paid once.

    \b
    blendq job act job_4nsb… U2
    blendq job act job_4nsb… U1 V3 --wait
    """
    place = Place(data_dir, sandbox)
    _check_wait(place, wait, timeout)
    with place.known_jobs() as producer:
        jobs = producer.act_all(job_id, actions, again=again)
        if not wait:
            for one in jobs:
                _tell_enqueued(one, place, as_json)
            return 0
        note(f"waiting for {', '.join(one.id for one in jobs)}; they go on without this command too")
        return max([_tell_finished(producer.wait(one, timeout), one.request, as_json) for one in jobs])


@job.command("cancel")
@click.argument("job_id", metavar="ID")
@place_options
def cancel_job(job_id: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Give a job up. One that the API has already is cancelled there, if the API can."""
    with Place(data_dir, sandbox).known_jobs() as producer:
        applied = producer.cancel(job_id)
    if not applied.changed:
        words = f"it is {applied.after.status}: there is nothing to cancel"
    elif applied.after.status is Status.CANCELLED:
        words = "cancelled before it was sent: nothing was paid"
    else:
        words = f"it is {applied.after.status} at the API, which is asked to cancel it; it may still be paid for"
    return _tell_applied(applied, words, as_json)


@job.command("retry")
@click.argument("job_id", metavar="ID")
@place_options
def retry_job(job_id: str, sandbox: str | None, data_dir: Path | None, as_json: bool) -> int:
    """Try a failed, cancelled or parked job again. A parked one may have been paid for: this may pay again."""
    place = Place(data_dir, sandbox)
    with place.known_jobs() as producer:
        applied = producer.retry(job_id)
    if not applied.changed:
        words = f"it is {applied.after.status}: there is nothing to try again"
    elif applied.after.status is Status.COLLECTING:
        words = "its picture is fetched again; nothing is paid"
    elif applied.before.status is Status.PARKED:
        words = "it is submitted again; it was parked because it may have been paid for, so this may pay again"
    else:
        words = "it is submitted again"
    code = _tell_applied(applied, words, as_json)
    if applied.changed and not place.worked_on:
        note(f"nothing works on it yet: start `blendq up{place.options}`")
    return code


def _tell_applied(applied: Applied, words: str, as_json: bool) -> int:
    job = applied.after
    if as_json:
        facts = {"changed": applied.changed, "before": applied.before.status, "cancel_requested": job.cancel_requested}
        print_json({"id": job.id, "status": job.status, **facts, "message": words})
    else:
        click.echo(f"{job.id}: {words}")
    return 0
