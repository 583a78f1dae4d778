"""What a process loads: no more than it needs, above all the receiver, which faces the internet."""

from __future__ import annotations

import json
import subprocess
import sys


def loaded_with(*modules: str) -> set[str]:
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps(list(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(run.stdout))


def test_the_receiver_loads_no_api_client_no_pictures_and_no_producer() -> None:
    loaded = loaded_with("ops.cli.processes", "worker.receiver")
    assert "worker.recorder" in loaded
    assert not loaded & {"httpx", "httpcore", "PIL", "producer", "worker.context", "worker.proxy.client"}


def test_beat_loads_no_api_client_and_no_pictures() -> None:
    loaded = loaded_with("ops.cli.processes", "worker.beat")
    assert not loaded & {"httpx", "httpcore", "PIL", "producer", "worker.context", "worker.main"}
