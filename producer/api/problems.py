"""Problems: what is told when something is wrong, as RFC 9457 has it, with `code`, `retryable` and `request_id`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from jobs.errors import (
    BlendqError,
    CampaignNotFound,
    EpochLost,
    IdempotencyConflict,
    InvalidRequest,
    JobNotFound,
    JobPurged,
    PictureMissing,
    ScheduleNotFound,
    StoreUnavailable,
    UsageError,
)
from jobs.plain_words import of_parameters

RETRY_AFTER_SECONDS = 2
# The first class that fits counts.
_STATUS: Mapping[type[BlendqError], HTTPStatus] = {
    JobNotFound: HTTPStatus.NOT_FOUND,
    ScheduleNotFound: HTTPStatus.NOT_FOUND,
    CampaignNotFound: HTTPStatus.NOT_FOUND,
    PictureMissing: HTTPStatus.NOT_FOUND,
    JobPurged: HTTPStatus.GONE,
    IdempotencyConflict: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    UsageError: HTTPStatus.UNPROCESSABLE_ENTITY,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    EpochLost: HTTPStatus.SERVICE_UNAVAILABLE,
    BlendqError: HTTPStatus.CONFLICT,
}
_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """`code` is stable, for machines; `detail` is for people. `retryable`: the same call may succeed later."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    request_id: str


class Refused(Exception):
    """A request that is not done. Its arguments become a Problem's fields; `headers` go with it."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        retryable: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.retryable = retryable
        self.headers = dict(headers or {})

    @classmethod
    def later(cls, status: HTTPStatus, code: str, detail: str) -> Refused:
        """It may be tried again soon."""
        return cls(status, code, detail, retryable=True, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})

    @classmethod
    def of(cls, error: Exception) -> Refused:
        """What an error comes to. One that nobody expected is told by its class alone: its text may quote data (I8)."""
        match error:
            case Refused():
                return error
            case BlendqError():
                return cls._of_ours(error)
            case OSError():
                words = f"the picture store cannot be written or read ({error.strerror or type(error).__name__})"
                return cls.later(HTTPStatus.SERVICE_UNAVAILABLE, "storage", words)
            case _:
                words = f"unexpected {type(error).__name__}; the log of the API tells more under this request_id"
                return cls(HTTPStatus.INTERNAL_SERVER_ERROR, "error", words)

    @classmethod
    def _of_ours(cls, error: BlendqError) -> Refused:
        status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
        if error.retryable:
            return cls.later(status, error.code, str(error))
        return cls(status, error.code, str(error))

    def problem(self, request_id: str) -> Problem:
        return Problem(
            title=self.status.phrase,
            status=self.status,
            detail=str(self),
            code=self.code,
            retryable=self.retryable,
            request_id=request_id,
        )

    def response(self, request_id: str) -> JSONResponse:
        return JSONResponse(
            self.problem(request_id).model_dump(),
            self.status,
            headers=self.headers,
            media_type="application/problem+json",
        )


def tell_problems(app: FastAPI) -> None:
    """Let every error of the application's routes end as a Problem."""
    app.add_exception_handler(RequestValidationError, _invalid_parameters)
    app.add_exception_handler(HTTPException, _of_the_framework)
    for expected in (Refused, BlendqError, OSError):
        app.add_exception_handler(expected, _told)
    app.add_exception_handler(ClientDisconnect, _nobody_there)
    app.add_exception_handler(Exception, _unexpected)


def _told(request: Request, error: Exception) -> JSONResponse:
    return Refused.of(error).response(request.state.request_id)


def _nobody_there(request: Request, _error: Exception) -> JSONResponse:
    return _told(request, Refused(HTTPStatus.BAD_REQUEST, "hung_up", "the caller hung up"))


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.error("request %s failed", request.state.request_id, exc_info=error)
    return _told(request, error)


def _invalid_parameters(request: Request, error: Exception) -> JSONResponse:
    """Never echoes a value."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  (registered for it alone)
    words = of_parameters(error.errors())
    return _told(request, Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", words))


def _of_the_framework(request: Request, error: Exception) -> JSONResponse:
    """No such path, or no such method there."""
    assert isinstance(error, HTTPException)  # noqa: S101  (as above)
    status = HTTPStatus(error.status_code)
    words = {
        HTTPStatus.NOT_FOUND: "there is nothing at this path; /v1/openapi.json lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: "this path does not take this method; /v1/openapi.json lists what there is",
    }.get(status, str(error.detail))
    return _told(request, Refused(status, status.name.lower(), words, headers=error.headers))
