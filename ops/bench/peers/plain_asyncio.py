"""The floor of features: one asyncio script with a semaphore, and no store. What it knows is gone when it ends.

    python -m ops.bench.peers.plain_asyncio CONCURRENCY PORT FOLDER

It takes one file of jobs after another that is put into the folder (NAME.jobs), and writes NAME.done when all have
their pictures.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from ops.bench.peers import work

LOOK_SECONDS = 0.01


class Script:
    def __init__(self, concurrency: int) -> None:
        self._room = asyncio.Semaphore(concurrency)
        self._links: dict[str, asyncio.Future[str]] = {}
        self._http = httpx.AsyncClient(timeout=work.TIMEOUT_SECONDS, headers=work.HEADERS)

    def called(self, job_id: str, mac: str, task: dict[str, Any]) -> None:
        link = self._links.get(job_id)
        if mac == work.mac(job_id) and task["status"] == "SUCCESS" and link and not link.done():
            link.set_result(task["imageUrl"])

    async def blend(self, job_id: str, images: list[str]) -> None:
        self._links[job_id] = asyncio.get_running_loop().create_future()
        async with self._room:
            answer = await self._http.post(work.SUBMIT_URL, json=work.body(job_id, images))
            answer.raise_for_status()
            picture = await self._http.get(await self._links[job_id])
        (work.OUT / f"{job_id}.png").write_bytes(picture.raise_for_status().content)

    async def watch(self, folder: Path) -> None:
        while True:
            for jobs in folder.glob("*.jobs"):
                async with asyncio.TaskGroup() as group:
                    for line in jobs.read_text().splitlines():
                        group.create_task(self.blend(*work.job_of(line)))
                jobs.rename(jobs.with_suffix(".done"))
            await asyncio.sleep(LOOK_SECONDS)


async def main(concurrency: str, port: str, folder: str) -> None:
    script = Script(int(concurrency))
    app = FastAPI()

    @app.post("/hooks/{job_id}/{mac}")
    async def called(job_id: str, mac: str, task: dict[str, Any]) -> None:
        script.called(job_id, mac, task)

    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        group.create_task(script.watch(Path(folder)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
