"""All that is known of a job or a campaign, as JSON, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.attempt import Attempt
from jobs.history import HistoryEntry
from jobs.job import Job, Status
from jobs.report import parent_json, picture_json, reason_json, rfc3339, source_name, upstream_json
from jobs.slots.plan import Plan
from producer.campaign import CampaignSummary


def whole_record(job: Job, history: Sequence[HistoryEntry], follow_ups: Sequence[Job] = ()) -> dict[str, Any]:
    """Everything that is known of a job; of its follow-ups where they stand."""
    request = job.request.model_dump(mode="json")
    request["images"] = [source_name(image) for image in job.request.images]
    return {
        "id": job.id,
        "object": "job",
        "status": job.status,
        "campaign": job.campaign,
        "custom_id": job.request.custom_id,
        **parent_json(job),
        "follow_ups": [_follow_up(one) for one in follow_ups],
        "request": request,
        "reason": reason_json(job.reason),
        "next_step": next_step(job),
        "picture": picture_json(job.picture),
        "seed": job.seed,
        "reused_from": job.reused_from,
        "submissions": job.submissions,
        "resubmissions": job.resubmissions,
        "queued_answers": job.queued_answers,
        "backoffs": job.backoffs,
        "cancel_requested": job.cancel_requested,
        "created_at": rfc3339(job.created_at),
        "due_at": rfc3339(job.due_at),
        "finished_at": rfc3339(job.finished_at),
        "current_attempt": job.current or None,
        "attempts": [_attempt(job, attempt) for attempt in job.attempts],
        "history": [_entry(entry) for entry in history],
    }


def campaign_json(summary: CampaignSummary) -> dict[str, Any]:
    """A campaign in numbers, with its plan and why it is paused."""
    return {
        "name": summary.name,
        "created_at": rfc3339(summary.created_at),
        "total": summary.total,
        "unfinished": summary.unfinished,
        "counts": dict(summary.counts),
        "submissions": summary.submissions,
        "resubmissions": summary.resubmissions,
        "queued_answers": summary.queued_answers,
        "uncertain": summary.uncertain,
        "plan": plan_json(summary.plan),
        "pause": summary.pause
        and {
            "kind": summary.pause.kind,
            "message": summary.pause.message,
            "at": rfc3339(summary.pause.at),
        },
    }


def plan_json(plan: Plan) -> dict[str, object]:
    """What was asked for a campaign; not how blendq remembers what was forgiven."""
    return plan.model_dump(include={"weight", "max_submissions", "stop_after_failures"})


def next_step(job: Job) -> str | None:
    """What a person can do about a job that has no picture; None when there is nothing to be done."""
    retry = f"`blendq job retry {job.id}`"
    match job.status:
        case Status.SUCCEEDED:
            return None
        case Status.CANCELLED:
            return f"{retry} if it is wanted after all"
        case Status.PARKED:
            return f"look for it at the API, for it may have been paid for; {retry} submits it again and may pay again"
        case Status.FAILED:
            return _after_failure(job, retry)
        case _:
            return "not finished: it goes on while `blendq run` or `blendq up` works on it"


def _after_failure(job: Job, retry: str) -> str:
    match job.reason.kind if job.reason else "":
        case "no_parent":
            return f"as the reason says; {retry} asks the API for that grid once more"
        case "moderated":
            return "the API refuses what these pictures show; use others"
        case "invalid":
            return "the API does not take this request; correct it by the reason given, and enqueue it anew"
        case _:
            return f"{retry} submits it again"


def _follow_up(job: Job) -> dict[str, Any]:
    return {"id": job.id, "action": job.follows and job.follows.action, "status": job.status}


def _attempt(job: Job, attempt: Attempt) -> dict[str, Any]:
    """The API's answer to it and its task stand under `upstream`; the rest is our own bookkeeping."""
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "claimed_at": rfc3339(attempt.claimed_at),
        "committed_at": rfc3339(attempt.committed_at),
        "answered_at": rfc3339(attempt.answered_at),
        "seen_at": rfc3339(attempt.seen_at),
        "taken": attempt.taken,
        "refused": attempt.refused,
        "gone": attempt.gone,
        "withdrawn": attempt.withdrawn,
        "absences": attempt.absences,
        "upstream": {
            "status": attempt.seen,
            **(
                upstream_json(job, attempt, ("task_id", "code", "description", "position", "progress", "image_url"))
                or {}
            ),
        },
    }


def _entry(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "at": rfc3339(entry.at),
        "event": entry.event,
        "before": entry.before,
        "after": entry.after,
        "detail": entry.detail,
    }
