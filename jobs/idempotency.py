"""Idempotency keys: each names one request, whatever campaign it is for, as long as its job is kept and 30 days more.

So whoever lost an answer asks again under the same key, and nothing is paid twice: not even when the job was purged in
between. The key is claimed in the step that creates the job (`lua/create.lua`).
"""

from __future__ import annotations

import hashlib
import json

from jobs.errors import IdempotencyConflict, InvalidRequest, JobPurged, UsageError
from jobs.job import Job
from jobs.request import BlendRequest

MAX_KEY_CHARACTERS = 255
_DIGEST_CHARACTERS = 32


def check_key(key: str) -> str:
    """
    Raises:
        UsageError: no key can look like this.
    """
    try:
        if len(key.encode()) > 0 and len(key) <= MAX_KEY_CHARACTERS:
            return key
    except UnicodeEncodeError:
        pass
    raise UsageError(f"an idempotency key is 1 to {MAX_KEY_CHARACTERS} characters of valid Unicode")


def digest_of(key: str) -> str:
    """What stands for the key in the name of what it claims."""
    return hashlib.sha256(key.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def content_of(request: BlendRequest) -> str:
    """All that is asked for, as a digest: the pictures, every option and label. The campaign is in the job's id."""
    text = json.dumps(request.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def refused(job: Job, owner: str, *, same: bool) -> InvalidRequest:
    """Why a job that has a key was not created.

    Args:
        job: it.
        owner: the id of the job that the key names.
        same: whether the same was asked for then.
    """
    key = job.idempotency_key
    if same:
        return JobPurged(
            f"idempotency key {key!r} names job {owner}, which was purged: blending it again would be paid for again; "
            "use a new key if that is wanted"
        )
    return IdempotencyConflict(
        f"idempotency key {key!r} names job {owner}, which is another request; use a new key for a new request"
    )
