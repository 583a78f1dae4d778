"""How fast one process enqueues: `Producer.enqueue_many` on an embedded server, with pictures that are stored already.

    python -m ops.bench.enqueue --jobs 100000 --json

Counted from the first request that is built to the last job that is durable. Beside the rate it tells the processor
time of this process and of the server for each job, which a busy machine changes less, and how much its memory grew.
"""

from __future__ import annotations

import io
import json
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice, product
from pathlib import Path

import click
from PIL import Image

from jobs.request import BlendRequest
from jobs.server import connect
from jobs.settings import Settings
from ops.embedded import EmbeddedServer
from ops.ownership import Ownership
from producer import Producer

PICTURES = 40
# Given as lists, which are enqueued the fastest; not as one, which would fill the memory.
TOGETHER = 10_000


@dataclass(frozen=True)
class Measured:
    """`grown_kib` is the peak of this process' memory over what it was before the first job."""

    jobs: int
    seconds: float
    jobs_per_second: float
    cpu_us_per_job: float
    server_cpu_us_per_job: float
    grown_kib: int


def measure(settings: Settings, jobs: int) -> Measured:
    """Enqueue so many different jobs, one after the other in one process.

    Args:
        settings: of a server that runs, and is empty.
        jobs: how many.
    """
    with Producer(settings) as blends:
        digests = [blends.images.put_bytes(_picture(shade), name="a picture").digest for shade in range(PICTURES)]
        for _ in blends.enqueue_many(_requests(digests, 1000), campaign="before"):
            pass
        server = _server_seconds(settings)
        memory, cpu, began = _peak_kib(), time.process_time(), time.perf_counter()
        requests, count = _requests(digests, jobs), 0
        while together := list(islice(requests, TOGETHER)):
            count += sum(1 for _ in blends.enqueue_many(together, campaign="measured"))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        server = _server_seconds(settings) - server
        assert count == blends.store.counts("measured")["waiting"] == jobs  # noqa: S101  (else nothing was measured)
    cpu_us, server_us = (round(one / jobs * 1e6, 2) for one in (cpu, server))
    return Measured(jobs, round(seconds, 3), round(jobs / seconds), cpu_us, server_us, _peak_kib() - memory)


def _server_seconds(settings: Settings) -> float:
    """The server's processor time so far."""
    with connect(settings.redis_address()) as server:
        used = server.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def _requests(digests: Sequence[str], count: int) -> Iterator[BlendRequest]:
    """Each is another blend of 2 to 4 pictures, named as a campaign's rows are."""
    blends = chain.from_iterable(product(digests, repeat=pictures) for pictures in (2, 3, 4))
    for number, images in enumerate(islice(blends, count)):
        yield BlendRequest(images=images, custom_id=f"row-{number}")


def _picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@click.command()
@click.option("--jobs", type=click.IntRange(min=1), default=100_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def main(jobs: int, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="blendq-bench-") as folder:
        settings = Settings(data_dir=Path(folder))
        with Ownership(settings.data_dir) as owner, EmbeddedServer(settings, owner):
            found = measure(settings, jobs)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(
        f"{found.jobs:,} jobs in {found.seconds:g} s: {found.jobs_per_second:,.0f} a second, "
        f"{found.cpu_us_per_job:g} µs of processor time each, "
        f"the server's {found.server_cpu_us_per_job:g}; memory grew by {found.grown_kib:,} KiB"
    )


if __name__ == "__main__":
    main()
