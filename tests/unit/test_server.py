"""Errors of Redis in our words."""

from __future__ import annotations

import pytest
import redis
from redis.connection import DefaultParser
from redis.exceptions import NoPermissionError

from jobs.errors import StoreForbidden, StoreUnavailable
from jobs.server import REFUSALS, unavailable


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("reset"),
        redis.TimeoutError("slow"),
        redis.BusyLoadingError("loading"),
        redis.ReadOnlyError("You can't write against a read only replica."),
        redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
        redis.ResponseError("BUSY Redis is busy running a script."),
    ],
)
def test_what_passes_is_unavailable_for_now(error: redis.RedisError) -> None:
    with pytest.raises(StoreUnavailable), unavailable():
        raise error


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_known_by_its_code_whatever_becomes_of_the_code_in_redis_py(code: str) -> None:
    with pytest.raises(StoreUnavailable), unavailable():
        raise DefaultParser.parse_error(f"{code} not now")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "words", ["Error running script (call to f_1): @user_script:3: nil", "wrong number of arguments"]
)
def test_a_defect_of_ours_goes_through(words: str) -> None:
    with pytest.raises(redis.ResponseError, match=r"script|arguments"), unavailable():
        raise redis.ResponseError(words)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (redis.AuthenticationError("invalid username-password pair or user is disabled."), "BLENDQ_REDIS_URL"),
        (NoPermissionError("No permissions to access a key"), r"ops/redis-users\.acl"),
    ],
)
def test_a_user_who_is_refused_is_told_what_to_do(error: redis.RedisError, told: str) -> None:
    with pytest.raises(StoreForbidden, match=told), unavailable():
        raise error
