"""Producer: enqueue blends, wait for them, cancel them; for Python services, and for the command line.

with Producer() as blends:
    job = blends.enqueue(BlendRequest(images=["a.png", "b.png"]), idempotency_key="order-17")
    print(blends.wait(job, timeout_seconds=600).picture)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from jobs.actions import Action
from jobs.applying import Applied
from jobs.epoch import Epoch
from jobs.errands import Errands
from jobs.errors import InvalidRequest, PictureMissing, StoreForbidden, StoreUnavailable
from jobs.events import Cancel, Retry
from jobs.idempotency import check_key
from jobs.job import DEFAULT_CAMPAIGN, Job
from jobs.keys import Keys
from jobs.net.download import Downloads
from jobs.pictures.images import Check, ImageStore
from jobs.pictures.picture_formats import check_picture
from jobs.policy import Policy
from jobs.queue import Wakeups, make_app
from jobs.request import BlendRequest
from jobs.schedules import Schedules
from jobs.server import connect, without_password
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.telling.changes import MAX_BLOCK_SECONDS, Changed
from producer.campaign import check_name
from producer.carrying_on import carry_on, read_actions
from producer.control import CampaignControl
from producer.enqueueing import Enqueueing
from producer.files import atomic_file
from producer.following import Events, Finished, Patience, Results
from producer.pictures import Pictures
from producer.tokens import Tokens

T = TypeVar("T")


class Producer:
    """Puts blends in and looks after them. May be shared by threads; close it, or use it in a `with` block.

    Args:
        settings: by default those of the environment.
        keys: another prefix for another blendq on the same server.
        check: decodes the pictures; where strangers send them, that of a `jobs.pictures.decoding.Decoder`.

    Raises:
        StoreForbidden: Redis does not let this user in.
        StoreUnavailable: no Redis answers at `settings.redis_address()`. Every method raises it too when Redis
            stops answering; the same call again is always safe.

    What enqueues raises EpochLost where Redis has lost its records: what it took now would be lost, or paid for again.
    """

    def __init__(
        self, settings: Settings | None = None, keys: Keys | None = None, check: Check = check_picture
    ) -> None:
        self.settings = settings or Settings.load()
        self.images = ImageStore(
            self.settings.data_dir / "images",
            max_bytes=self.settings.max_image_bytes,
            max_pixels=self.settings.max_image_pixels,
            check=check,
        )
        self._web = Downloads.from_settings(self.settings)
        client = connect(self.settings.redis_address())
        self.store = JobStore(client, Policy.from_settings(self.settings), keys)
        try:
            self.store.ping()
        except StoreForbidden:
            self.store.close()
            raise
        except StoreUnavailable as error:
            self.store.close()
            where = without_password(self.settings.redis_address())
            raise StoreUnavailable(
                f"no Redis answers at {where}; start `blendq up`, or set BLENDQ_REDIS_URL to one that runs"
            ) from error
        self.schedules = Schedules(client, self.store.keys)
        self.tokens = Tokens(client, self.store.keys)
        self._errands = Errands(client, self.store.keys)
        self._epoch = Epoch(client, self.store.keys, self.settings.data_dir)
        self._enqueueing = Enqueueing(
            self.store, self.images, self._epoch, self.settings.upstream_names, self._wake_dispatch
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Jobs go on: they are the workers'."""
        if "_wakeups" in vars(self):
            self._app.close()
        self._web.close()
        self.store.close()

    def must_be_ready(self) -> None:
        """
        Raises:
            StoreUnavailable, EpochLost: nothing can be enqueued now.
        """
        self._epoch.verify()

    # Enqueueing ------------------------------------------------------------------------------------------------

    def enqueue(
        self,
        request: BlendRequest,
        *,
        campaign: str = DEFAULT_CAMPAIGN,
        idempotency_key: str | None = None,
        reuse: bool = False,
    ) -> Job:
        """Enqueue one blend. When it returns, the job survives a power cut.

        Args:
            request: its pictures are paths, web addresses, `data:` URLs, or digests of stored pictures.
            campaign: 1 to 64 letters, digits, `-`, `_` or `.`.
            idempotency_key: your own name for the job, 1 to 255 characters, whatever its campaign. It is known as long
                as the job is, and 30 days more. Without one, the same content with the same options in the same
                campaign is the same job.
            reuse: where the same content with the same options has succeeded in another campaign, its picture will do:
                the job succeeds at once (`reused_from` names the other), and nothing is paid.

        Returns:
            The new job; or the one that is there already, however far it has come.

        Raises:
            PictureError: a picture is missing, broken or over a limit; nothing was enqueued.
            InvalidRequest: the settings name APIs, but not its `upstream`; nothing was enqueued.
            IdempotencyConflict: the key was used for another request, or for another campaign.
            JobPurged: the key was used for this request, and the job was purged.
            UsageError: no campaign, or no key, can be named like this.
        """
        (outcome,) = self.enqueue_each([request], [idempotency_key], campaign=campaign, reuse=reuse)
        if isinstance(outcome, InvalidRequest):
            raise outcome
        return outcome

    def enqueue_each(
        self,
        requests: Sequence[BlendRequest],
        idempotency_keys: Sequence[str | None],
        *,
        campaign: str,
        reuse: bool = False,
    ) -> list[Job | InvalidRequest]:
        """Enqueue those of some blends that are good; a bad one holds up none of the others.

        Args:
            requests: at most a few hundred, since all their jobs are created in one step.
            idempotency_keys: for each request its own key, or None.
            campaign: of all of them.
            reuse: as for `enqueue`.

        Returns:
            for each request its job, or what `enqueue` raises.

        Raises:
            UsageError: no campaign, or no key, can be named like this.
        """
        check_name(campaign)
        for key in idempotency_keys:
            if key is not None:
                check_key(key)
        return self._enqueueing.each(requests, idempotency_keys, campaign, self.pictures(), reuse)

    def enqueue_many(
        self, requests: Iterable[BlendRequest], *, campaign: str = DEFAULT_CAMPAIGN, reuse: bool = False
    ) -> Iterator[Job]:
        """Enqueue any number of blends, a batch of 500 at a time, as the result is iterated over.

        Each job comes out once it is durable. A file that several requests name is read once. The same content
        twice is one job, and comes out twice. `reuse` as for `enqueue`. A list (any sequence) is the fastest: while
        Redis creates a batch of it, the next one is made ready, and is created even when no more jobs are asked for.

        Raises:
            InvalidRequest: names the requests whose pictures are bad, or whose `upstream` is unknown, counted from 1.
                Nothing of their batch was enqueued; the batches before it were, and doing it all again is harmless.
            UsageError: no such campaign name; raised at once.
        """
        check_name(campaign)
        return self._enqueueing.stream(requests, campaign, self.pictures(), reuse)

    def enqueue_batch(
        self,
        requests: Sequence[BlendRequest],
        *,
        campaign: str,
        takes: Sequence[int] | None = None,
        reuse: bool = False,
    ) -> list[tuple[Job, bool]]:
        """Enqueue blends that are all checked, with their pictures, before the first of them is enqueued.

        Args:
            requests: the blends.
            campaign: where they belong.
            takes: for each 1, or which further blend of the same content it is; all 1 by default.
            reuse: as for `enqueue`; further blends are wanted for themselves.

        Returns:
            For each request its job, and whether that was created now. The same content twice is one job, created
            once.

        Raises:
            InvalidRequest: names the requests whose pictures are bad, or whose `upstream` is unknown, counted from 1;
                nothing was enqueued.
            UsageError: no such campaign name.
        """
        check_name(campaign)
        return self._enqueueing.batch(requests, takes, campaign, self.pictures(), reuse)

    def reusable(self, requests: Sequence[BlendRequest]) -> list[Job | None]:
        """For each request a job of any campaign that has succeeded with the same content, and whose picture is here.

        Args:
            requests: their images are digests.
        """
        return self._enqueueing.reusable(requests)

    def pictures(self, root: Path | None = None) -> Pictures:
        """Stores the pictures of rows; each is read once, however often it is named from now on.

        Args:
            root: the folder that every file must be in; None for anywhere.
        """
        return Pictures(self.images, self._web, root)

    # Looking after jobs ----------------------------------------------------------------------------------------

    def get(self, job: Job | str) -> Job:
        """The job as it is now.

        Raises:
            JobNotFound: there is no such job.
        """
        return self.store.get(_id(job))

    def wait(self, job: Job | str, timeout_seconds: float | None = None) -> Finished:
        """Wait until the job has its picture, or a reason why there is none.

        Args:
            job: the job or its id.
            timeout_seconds: how long at most; None for as long as it takes.

        Raises:
            WaitTimeout: the time is up; the job goes on, and may be waited for again. Also a TimeoutError.
            JobNotFound: there is no such job.
        """
        patience = Patience(timeout_seconds)
        while not (now := self.get(job)).status.final:
            time.sleep(patience.pause_seconds(now))
        return Finished.of(now, self.images)

    def picture(self, job: Job | str) -> bytes:
        """The finished picture, as the API made it.

        Raises:
            PictureMissing: there is none yet, or never will be; or this machine does not share the image store.
            JobNotFound: there is no such job.
        """
        found = Finished.of(self.get(job), self.images)
        if found.picture is None:
            raise PictureMissing(
                f"job {found.job.id} has no picture here, it is {found.status}: wait until it has succeeded, where the "
                "image store is that of the worker"
            )
        return found.picture.read_bytes()

    def save(self, job: Job | str, path: str | PathLike[str]) -> Path:
        """Write the finished picture to a file, in the place of what is there. It appears whole or not at all.

        Args:
            job: the job or its id.
            path: the file; its folder is there already.

        Returns:
            The path.

        Raises:
            PictureMissing, JobNotFound: as for `picture`.
            OSError: the file cannot be written.
        """
        target = Path(path)
        data = self.picture(job)
        with atomic_file(target) as file:
            file.write(data)
        return target

    # Following along -------------------------------------------------------------------------------------------

    def events(
        self, after: str | None = None, *, campaign: str | None = None, job: Job | str | None = None
    ) -> Iterator[Changed]:
        """What becomes of jobs, without end: each change of a status or of the progress, from the moment of this call.

        Args:
            after: the `id` of the last event you had, to go on from there; the newest 10,000 are kept.
            campaign: only its jobs.
            job: only this one; without `after` the first event is how it is now.

        Raises:
            ChangesMissed: `after` is too long ago, or you were too slow; the jobs themselves are the truth.
            JobNotFound: there is no such job.
        """
        return _flow(Events(self.store, after, campaign, None if job is None else _id(job)).step)

    def results(self, campaign: str) -> Iterator[Finished]:
        """The finished jobs of a campaign, each once: first those that are, then the others as they finish.

        Ends when all have. A job that waits in a paused campaign is waited for.

        Raises:
            CampaignNotFound: it has no jobs.
        """
        jobs = _flow(Results(self.store, check_name(campaign)).step)
        return (Finished.of(job, self.images) for job in jobs)

    # Orders ----------------------------------------------------------------------------------------------------

    def cancel(self, job: Job | str) -> Applied:
        """Give a job up. One that the API has already is cancelled there, if the API can; that may take a while.

        Returns:
            The job before and after; `changed` is false when there was nothing left to cancel.

        Raises:
            JobNotFound: there is no such job.
        """
        applied = self.store.apply(_id(job), Cancel())
        if applied.freed_slot:
            self._wake_dispatch()
        return applied

    def retry(self, job: Job | str) -> Applied:
        """Try a failed, cancelled or parked job again. A parked one may have been paid for already: this may pay again.

        Returns:
            The job before and after; `changed` is false when it had not ended without a picture.

        Raises:
            JobNotFound: there is no such job.
        """
        applied = self.store.apply(_id(job), Retry())
        if applied.to_fetch:
            self._wake_collect()
        elif applied.changed:
            self._wake_dispatch()
        return applied

    def act(self, job: Job | str, action: Action | str, *, again: bool = False) -> Job:
        """Have a finished grid carried on: upscale a quarter of it, vary it, or make another grid.

        Args:
            job: a blend, a variation or a reroll that has succeeded.
            action: "U1" to "U4", "V1" to "V4", or "R".
            again: one more, though there is one; not of an upscale, which is the same each time.

        Returns:
            The follow-up, a job like any other, and paid for. The same action of the same job is the same follow-up.

        Raises:
            JobNotFound, NotAGrid: there is no such job; it has no grid.
            InvalidRequest, UsageError: no such action; an upscale again.
        """
        return self.act_all(job, [action], again=again)[0]

    def act_all(self, job: Job | str, actions: Sequence[Action | str], *, again: bool = False) -> list[Job]:
        """The same for several actions in one step: all of their follow-ups are created, or none."""
        self._epoch.verify()
        found = carry_on(self.store, _id(job), read_actions(actions), again=again)
        self._wake_dispatch()
        return found

    def follow_ups(self, job: Job) -> list[Job]:
        """Its follow-ups, in the order in which they were created."""
        return [one for one in self.store.find_many(job.follow_ups) if one]

    def campaign(self, name: str) -> CampaignControl:
        """What may be ordered for a campaign as a whole: pause, resume, cancel, retry, a budget, and so on.

        Raises:
            UsageError: no such campaign name.
        """
        return CampaignControl(self.store, check_name(name), self._wake_dispatch, self._wake_collect)

    @cached_property
    def _wakeups(self) -> Wakeups:
        """Made when first needed: whoever only reads opens no connection to the broker."""
        self._app = make_app(self.settings)
        return Wakeups(self._app, self._errands)

    def _wake_dispatch(self) -> None:
        """The jobs are safe already; without a wake-up the next tick of the clock finds them."""
        with suppress(StoreUnavailable):
            if self.store.gate.ask_dispatch():
                self._wakeups.dispatch()

    def _wake_collect(self) -> None:
        self._wakeups.collect()


def _flow(step: Callable[[float], Sequence[T] | None]) -> Iterator[T]:
    while (found := step(MAX_BLOCK_SECONDS)) is not None:
        yield from found


def _id(job: Job | str) -> str:
    return job.id if isinstance(job, Job) else job
