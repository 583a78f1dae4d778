"""A skewed clock: the wall clock is wrong everywhere in the process, the monotonic one nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

# Names are bound before and after the skew, as modules do that import them.
SEEN = """
import json, sys, time
from datetime import UTC, datetime
from time import time as bound
true, monotonic = time.time(), time.monotonic()
from jobs.job import Job
import datetime as module
from ops.chaos.clock import skew
skew(float(sys.argv[1]))
from datetime import datetime as later
from jobs.request import BlendRequest
job = Job(id="job_1", request=BlendRequest(images=["sha256:" + "a" * 64] * 2), created_at=datetime.now(UTC), order=1)
moments = {
    "time": time.time(), "time_ns": time.time_ns() / 1e9, "bound": bound(),
    "now": datetime.now(UTC).timestamp(), "naive": datetime.now().timestamp(), "later": later.now(UTC).timestamp(),
    "module": module.datetime.now(UTC).timestamp(), "utcnow": datetime.utcnow().replace(tzinfo=UTC).timestamp(),
    "today": datetime.today().timestamp(),
    "record": Job.model_validate_json(job.model_dump_json()).created_at.timestamp(),
}
print(json.dumps({
    "skews": {name: moment - true for name, moment in moments.items()},
    "monotonic": time.monotonic() - monotonic,
    "is_datetime": isinstance(job.created_at, datetime),
}))
"""


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_the_whole_wall_clock_is_skewed_and_the_monotonic_one_is_not(seconds: float) -> None:
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SEEN, str(seconds)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seen: dict[str, Any] = json.loads(told.stdout)
    assert {name: moment for name, moment in seen["skews"].items() if abs(moment - seconds) > 30} == {}
    assert 0 <= seen["monotonic"] < 60
    assert seen["is_datetime"]
