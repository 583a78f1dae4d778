"""What an answer to a submission means. Pure: an answer goes in, a verdict comes out.

The rule behind every line: a submission may be repeated only when the answer proves that it was not accepted.
What is not listed is `Unsure`, never a refusal and never success. The codes are those of the reference page of
submit/blend (1, 22) and of the servers' own sources (the others).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from worker.proxy.reply import RawAnswer, Reply, read_reply, retry_after_seconds
from worker.proxy.wire import clean, task_id, whole_number

__all__ = [
    "Accepted",
    "Exists",
    "NotSent",
    "Queued",
    "RawAnswer",
    "Refusal",
    "Refused",
    "Unsure",
    "Verdict",
    "decide",
]

QUEUE_FULL = "队列已满"
QUOTA = "quota_not_enough"
# The task that a follow-up carries on is unknown: as the servers say it, and the gateways.
PARENT_GONE = "关联任务不存在"
PARENT_NOT_FOUND = "task_no_found"
# A gateway says so of what it had passed on: the server behind it may have the task, and its own part failed later.
# (one-api and new-api, relay-mj.go; older ones say all of it with code 4.)
PASSED_ON = (
    "do_request_failed",
    "close_request_body_failed",
    "response_body",  # read_…_failed, close_…_failed, unmarshal_…_failed, copy_…_failed, empty_…
    "fail_to_fetch_midjourney",
    "insert_midjourney_task_failed",
    "midjourney_billing_failed",
)


class Refusal(StrEnum):
    """Why a submission was not accepted. Each proves that nothing was paid."""

    NO_ROOM = "no_room"
    NO_ACCOUNT = "no_account"
    MODERATED = "moderated"
    INVALID = "invalid"
    NO_PARENT = "no_parent"
    QUOTA = "quota"
    KEY = "key"
    WRONG_ADDRESS = "wrong_address"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Code 1: the task is under way."""

    task_id: str
    code: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Exists:
    """Code 21: the API has this task already; it is adopted."""

    task_id: str
    code: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """Code 22. With an id the task is accepted and waits behind `position` others; without one it was not taken."""

    task_id: str | None
    position: int | None = None
    code: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Not accepted. `message` is for people; `retry_after_seconds` is what the API asked for, at most an hour."""

    kind: Refusal
    message: str
    retry_after_seconds: float | None = None
    code: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Unsure:
    """It may have been accepted, and the answer does not tell."""

    message: str
    code: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class NotSent:
    """No verdict of the API's: the last byte never left, so the submission cannot have been accepted."""

    message: str


Verdict = Accepted | Exists | Queued | Refused | Unsure


_WORDS = {
    Refusal.NO_ROOM: "the API has no room for another task",
    Refusal.NO_ACCOUNT: "the API has no account that could run this job",
    Refusal.MODERATED: "the API refused the content",
    Refusal.INVALID: "the API refused the request",
    Refusal.NO_PARENT: "the API no longer knows the task that this carries on; blend anew, and carry on from that",
    Refusal.QUOTA: "the API's account is out of quota; top it up, then resume",
    Refusal.KEY: "the API refused the key; check the settings api_key and api_auth",
    Refusal.WRONG_ADDRESS: "there is no such call at this address; check the setting api_url",
}
# These speak for themselves, whatever the body says: they come from whoever stands in front of the API.
_STATUS_FIRST = {401: Refusal.KEY, 403: Refusal.KEY, 429: Refusal.NO_ROOM}
_STATUS_LAST = {
    400: Refusal.INVALID,
    402: Refusal.QUOTA,
    404: Refusal.WRONG_ADDRESS,
    405: Refusal.WRONG_ADDRESS,
    413: Refusal.INVALID,
    415: Refusal.INVALID,
    422: Refusal.INVALID,
}


def decide(answer: RawAnswer) -> Verdict:
    """The verdict on a submission whose last byte was sent.

    HTTP 401, 403 and 429 decide by themselves; then a known `code`, whatever the HTTP status; then the status.
    Never raises, whatever the answer holds.
    """
    reply = read_reply(answer)
    if kind := _STATUS_FIRST.get(answer.status):
        return _refused(kind, answer, reply)
    if answer.truncated:
        # 404 has no accepting form in any server; of the others the lost part of the body might have told.
        if answer.status == 404:
            return _refused(Refusal.WRONG_ADDRESS, answer, reply)
        return _unsure("its body was cut or over the size limit", answer, reply)
    return _by_code(answer, reply) or _by_status(answer, reply)


def _by_code(answer: RawAnswer, reply: Reply) -> Verdict | None:
    match reply.code:
        case 1 | 21:
            return _taken(answer, reply)
        case 22:
            return _queued(answer, reply)
        case 23:
            return _refused(Refusal.NO_ROOM, answer, reply)
        case 3 if PARENT_GONE in reply.said:
            return _refused(Refusal.NO_PARENT, answer, reply)
        case 3:
            return _refused(Refusal.NO_ACCOUNT, answer, reply)
        case 24:
            return _refused(Refusal.MODERATED, answer, reply)
        case 4:
            return _bad_request(answer, reply)
        case 9 if QUEUE_FULL in reply.said:
            return _refused(Refusal.NO_ROOM, answer, reply)
        case 5 | 9:
            return _unsure("it failed inside", answer, reply)
        case _:
            return None


def _taken(answer: RawAnswer, reply: Reply) -> Verdict:
    name = task_id(reply.result)
    if name is None:
        return _unsure("accepted without a task id", answer, reply)
    kind = Accepted if reply.code == 1 else Exists
    return kind(name, reply.code, reply.words)


def _queued(answer: RawAnswer, reply: Reply) -> Verdict:
    name = task_id(reply.result)
    if name is None and reply.result and str(reply.result).strip():
        # Something stands where the id belongs, so the task was taken: to send it again would be to pay twice.
        return _unsure("queued under a task id that cannot be read", answer, reply)
    return Queued(name, whole_number(reply.properties.get("numberOfQueues")), reply.code, reply.words)


def _bad_request(answer: RawAnswer, reply: Reply) -> Verdict:
    if any(words in reply.said for words in PASSED_ON):
        return _unsure("the gateway had passed it on, and failed after that", answer, reply)
    if PARENT_NOT_FOUND in reply.said:
        return _refused(Refusal.NO_PARENT, answer, reply)
    return _refused(Refusal.QUOTA if QUOTA in reply.said else Refusal.INVALID, answer, reply)


def _by_status(answer: RawAnswer, reply: Reply) -> Verdict:
    if 300 <= answer.status < 400:
        return _refused(Refusal.WRONG_ADDRESS, answer, reply)
    if kind := _STATUS_LAST.get(answer.status):
        return _refused(kind, answer, reply)
    return _unsure("an unknown code" if reply.code is not None else "no code in it", answer, reply)


def _refused(kind: Refusal, answer: RawAnswer, reply: Reply) -> Refused:
    parts = [f"{_WORDS[kind]} ({_signature(answer, reply)})"]
    if kind is Refusal.MODERATED and (word := clean(reply.properties.get("bannedWord"))):
        parts.append(f"banned word {word!r}")
    if 300 <= answer.status < 400 and (target := clean(answer.header("location"))):
        parts.append(f"it points to {target.partition('?')[0]}")
    if reply.words:
        parts.append(reply.words)
    return Refused(kind, ": ".join(parts), retry_after_seconds(answer), reply.code, reply.words)


def _unsure(why: str, answer: RawAnswer, reply: Reply) -> Unsure:
    said = f": {reply.words}" if reply.words else ""
    message = f"the answer ({_signature(answer, reply)}) does not tell whether the task was accepted: {why}{said}"
    return Unsure(message, reply.code, reply.words)


def _signature(answer: RawAnswer, reply: Reply) -> str:
    return f"HTTP {answer.status}" + (f", code {reply.code}" if reply.code is not None else "")
