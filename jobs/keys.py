"""Every key name. What each key holds is said here and nowhere else."""

from __future__ import annotations

from jobs.doors import DEFAULT
from jobs.job import Status

# Whatever the broker keeps; a prefix of its own, so that every key of ours starts with blendq.
BROKER_PREFIX = "blendq:celery:"


class DoorKeys:
    """The keys of one door; a circuit is that of an upstream, which has the name of its first door."""

    def __init__(self, prefix: str) -> None:
        self.slots = f"{prefix}:slots"  # set: the jobs that hold a slot
        self.flow = f"{prefix}:flow"  # JSON: how many slots were found, and by what
        self.flow_moves = f"{prefix}:flow:moves"  # list of JSON lines, the newest first: its changes
        self.cores = f"{prefix}:flow:cores"  # what the API's account data say that it can work on; expires
        self.cores_asked = f"{prefix}:flow:cores:asked"  # they were asked for; expires when they may be again
        self.pause = f"{prefix}:pause"  # JSON: why nothing is submitted there; expires by itself
        self.suspect = f"{prefix}:suspect"  # since the last pause nothing was accepted: only one job goes at a time
        self.no_accounts = f"{prefix}:no_accounts"  # counter: answers 3 since something was accepted


class Keys:
    """The keys under one prefix; another prefix is another, separate blendq on the same server (as in the tests)."""

    def __init__(self, prefix: str = "blendq") -> None:
        self.prefix = prefix
        self._default = DoorKeys(prefix)
        self.order = f"{prefix}:order"  # counter: jobs ever enqueued
        self.later = f"{prefix}:waiting:later"  # zset id -> due time (ms): jobs that are not due yet
        self.contenders = f"{prefix}:contenders"  # set: the queues that have ready jobs; campaigns, and their pins
        self.counts = f"{prefix}:counts"  # hash: the tally of all jobs, and of those at each door but the default one
        self.campaigns = f"{prefix}:campaigns"  # zset name -> time of its first job (ms)
        self.idle = f"{prefix}:campaigns:idle"  # zset name -> since when it is known to be finished (ms)
        self.idle_looked_at = f"{prefix}:campaigns:idle:looked_at"  # somebody has just looked; expires by itself
        self.tasks = f"{prefix}:tasks"  # hash task id, behind the upstream's name -> job id: it belongs to one job
        self.pictures = f"{prefix}:pictures"  # hash digest of a finished picture -> job id: it belongs to one job
        self.contents = f"{prefix}:contents"  # hash content id -> job id: a job that has succeeded with this content
        self.changes = f"{prefix}:changes"  # stream: what has become of jobs; the oldest entries are dropped
        self.webhooks = f"{prefix}:webhooks"  # hash id -> JSON: endpoints of the producer's, with their secrets
        self.notices = f"{prefix}:notices"  # hash id -> JSON: what the webhooks are told
        self.outbox = f"{prefix}:notices:outbox"  # zset notice -> its time (ms): those not yet handed to their lanes
        self.told = f"{prefix}:notices:told"  # zset notice -> when first handed out (ms); kept for a replay
        self.lanes = f"{prefix}:webhooks:lanes"  # set: the lanes in which notices wait
        self.stopped = f"{prefix}:stopped"  # JSON: why nothing at all is submitted, on our own side; expires by itself
        self.answers = f"{prefix}:answers"  # hash kind, behind the door -> how many answers to submissions ever
        self.schedules = f"{prefix}:schedules"  # hash name -> the schedule, as JSON
        self.schedules_next = f"{prefix}:schedules:next"  # zset name -> when it runs next (ms); not while it is paused
        self.schedules_in_hand = f"{prefix}:schedules:in_hand"  # zset run -> until when somebody does it (ms)
        self.epoch = f"{prefix}:epoch"  # made once; when it is gone, so are the records
        self.tokens = (
            f"{prefix}:tokens"  # hash name -> JSON: who may use the HTTP API; a digest of each token, never itself
        )
        self.dispatch_asked = f"{prefix}:dispatch:asked"  # a wake-up for dispatch is on its way

    def door(self, name: str = DEFAULT) -> DoorKeys:
        """Those of the default door have no name in them: there it was alone, and what it keeps stays its own."""
        return self._default if name == DEFAULT else DoorKeys(f"{self.prefix}:upstream:{name}")

    def job(self, job_id: str) -> str:
        """Hash: `doc` the record as JSON (packed when it is final), `version` its number of writes, `writes` the names
        of the last ones.
        """
        return f"{self.prefix}:job:{job_id}"

    def idempotency(self, digest: str) -> str:
        """What an idempotency key, given by its digest, names: the id of a job, and a digest of what it asked for."""
        return f"{self.prefix}:idempotency:{digest}"

    def errands(self, queue: str) -> str:
        """List of job ids: those that the wake-ups in this queue of the broker are about, the longest waiting first. In
        that of `control` one entry stands for a dispatch that is wanted.
        """
        return f"{self.prefix}:errands:{queue}"

    def answers_in(self, period: int) -> str:
        """Hash kind -> how many answers there were in one period; expires."""
        return f"{self.answers}:{period}"

    def schedule_runs(self, name: str) -> str:
        """List of JSON lines: what became of the last runs, the oldest first."""
        return f"{self.prefix}:schedule:{name}:runs"

    def history(self, job_id: str) -> str:
        """List of JSON lines, packed, the oldest first."""
        return f"{self.prefix}:history:{job_id}"

    def at(self, status: Status) -> str:
        """Zset id -> due time (ms): the jobs in this status, by when somebody must look at them."""
        return f"{self.prefix}:at:{status}"

    def campaign_counts(self, campaign: str) -> str:
        """Hash: the tally of the campaign's jobs."""
        return f"{self.prefix}:campaign:{campaign}:counts"

    def ready(self, campaign: str, pin: str = "") -> str:
        """Zset id -> rank: the campaign's due jobs of one pin, the next to go first."""
        return f"{self.prefix}:campaign:{campaign}:ready{pin and ':'}{pin}"

    def campaign_plan(self, campaign: str) -> str:
        """JSON: what was asked for when it was enqueued, its budget for example; none where nothing was."""
        return f"{self.prefix}:campaign:{campaign}:plan"

    def campaign_pause(self, campaign: str) -> str:
        """JSON: why nothing of it is submitted; none while it goes on."""
        return f"{self.prefix}:campaign:{campaign}:pause"

    def campaign_turn(self, campaign: str) -> str:
        """Number: when it last had a turn (`slots.plan`); none where it never shared the slots with another."""
        return f"{self.prefix}:campaign:{campaign}:turn"

    def campaign_jobs(self, campaign: str) -> str:
        """Zset id -> order: the campaign's jobs as they were enqueued."""
        return f"{self.prefix}:campaign:{campaign}:jobs"

    def campaign_failures(self, campaign: str) -> str:
        """Zset id -> when it ended (ms): the campaign's jobs that failed or are parked."""
        return f"{self.prefix}:campaign:{campaign}:failures"

    def lane(self, name: str) -> str:
        """Zset notice -> due time (ms): what waits to be sent to one endpoint, or to jobs' own hooks on one host."""
        return f"{self.prefix}:webhook:{name}:due"

    def lane_tries(self, name: str) -> str:
        """Hash notice -> JSON: how often it was tried in vain, and since when."""
        return f"{self.prefix}:webhook:{name}:tries"

    def webhook_log(self, webhook_id: str) -> str:
        """List of JSON lines, the newest first: the last deliveries to an endpoint, or to all jobs' own hooks."""
        return f"{self.prefix}:webhook:{webhook_id}:log"

    def places(self, status: Status, campaign: str, pin: str = "") -> tuple[str, ...]:
        """The zsets in which a job of this status may stand; it stands in exactly one of them, where there are any."""
        if status in (Status.FAILED, Status.PARKED):
            return (self.campaign_failures(campaign),)
        if status.final:
            return ()
        if status is not Status.WAITING:
            return (self.at(status),)
        pinned = (self.ready(campaign, pin),) if pin else ()  # before there were pins, it stood with the others
        return (*pinned, self.ready(campaign), self.later)
