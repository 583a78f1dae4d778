"""The peers' webhook receiver: FastAPI on uvicorn (which takes uvloop and httptools, since they are installed)."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException

from ops.bench.peers import work

ROUTE = "/hooks/{job_id}/{mac}"


def run(port: int, collect: Callable[[str, str], object]) -> None:
    """Answer on this port until told to end.

    Args:
        port: on this machine.
        collect: hands a picture on to the workers: a job's id, and the link.
    """
    app = FastAPI()

    @app.post(ROUTE)
    def called(job_id: str, mac: str, task: dict[str, Any]) -> None:
        if url := _heard(job_id, mac, task):
            collect(job_id, url)

    _serve(app, port)


def run_async(port: int, collect: Callable[[str, str], Awaitable[object]]) -> None:
    """The same for whoever hands on by asyncio. Redis is asked as before: on one machine that is quicker."""
    app = FastAPI()

    @app.post(ROUTE)
    async def called(job_id: str, mac: str, task: dict[str, Any]) -> None:
        if url := _heard(job_id, mac, task):
            await collect(job_id, url)

    _serve(app, port)


def _heard(job_id: str, mac: str, task: dict[str, Any]) -> str | None:
    if not hmac.compare_digest(mac, work.mac(job_id)):
        raise HTTPException(404)
    return work.called_back(job_id, task)


def _serve(app: FastAPI, port: int) -> None:
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
