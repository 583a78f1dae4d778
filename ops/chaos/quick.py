"""Time, scaled for short runs: the leases and patiences of the product, each about a tenth of what it is.

What matters is the order of magnitude between them (HTTP deadline < lease < visibility timeout), which stays. Settings
can be set; the others are constants of the product's modules, and are replaced there before a process begins its work.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

SETTINGS: dict[str, object] = {
    "lease_seconds": 3.0,
    "connect_timeout_seconds": 1.0,
    "write_timeout_seconds": 1.5,
    "answer_timeout_seconds": 2.0,
    "upload_timeout_seconds": 8.0,
    "backoff_base_seconds": 0.1,
    "backoff_cap_seconds": 1.0,
    "poll_min_seconds": 0.2,
    "poll_max_seconds": 1.0,
    "silence_seconds": 1.5,
    "missing_after_seconds": 3.0,
    "missing_absences": 3,
    "unsure_limit_seconds": 8.0,
    "queued_patience_seconds": 20.0,
    "task_limit_seconds": 25.0,
    "collect_limit_seconds": 45.0,
    "resubmit_limit_seconds": 300.0,
    "pause_seconds": 2.0,
    "min_free_disk_percent": 0.0,
    "receiver_store_seconds": 1.0,
    "receiver_head_seconds": 2.0,
    "receiver_body_seconds": 2.0,
}

# At real times all is as it is by default, but for what is no matter of recovery: a person's patience, the disk here.
REAL_SETTINGS: dict[str, object] = {
    "unsure_limit_seconds": 120.0,
    "collect_limit_seconds": 120.0,
    "min_free_disk_percent": 0.0,
}

CONSTANTS: dict[str, float] = {
    "SOCKET_TIMEOUT_SECONDS": 1.0,
    "READ_TIMEOUT_SECONDS": 2.5,
    "DEADLINE_SECONDS": 15.0,
    "HOLD_SECONDS": 1.0,
    "DELIVERY_SECONDS": 0.8,
    "BACKOFF_BASE_SECONDS": 0.2,
    "BACKOFF_CAP_SECONDS": 1.0,
    "TICK_SECONDS": 0.5,
    "VISIBILITY_MARGIN_SECONDS": 10.0,
    "SUBMISSION_MARGIN_SECONDS": 3.0,
    "RECORD_LIMIT_SECONDS": 60.0,
    "LOOK_SECONDS": 1.0,
    "DEAF_SECONDS": 8.0,
    "LEAVE_MARGIN_SECONDS": 3.0,
    "OWN_PAUSE_SECONDS": 1.0,
}
# kombu's own patience with a broker that says nothing; scaled like the rest.
TRANSPORT = {"socket_timeout": 3.0, "socket_connect_timeout": 1.0, "health_check_interval": 2}

_ROOMS = ("jobs", "worker", "producer")
# What a process of each role loads; all the rest of the product comes with it.
ENTRANCES = {
    "worker": "worker.main",
    "beat": "worker.beat",
    "receiver": "worker.receiver",
    "producer": "producer.client",
}


def product_modules() -> list[Any]:
    """Every loaded module of the product: a constant may have been copied into any of them by an import."""
    return [module for name, module in sys.modules.items() if name.split(".")[0] in _ROOMS]


def replace_everywhere(name: str, value: object) -> None:
    """Give a module attribute another value, in each module that knows it by this name.

    Raises:
        LookupError: none does; the product has changed, and this harness with it must.
    """
    places = [module for module in product_modules() if name in vars(module)]
    if not places:
        raise LookupError(f"no module of the product has {name}")
    for module in places:
        setattr(module, name, value)


def scale(role: str) -> None:
    """Make this process quick. Before anything of it is running."""
    importlib.import_module(ENTRANCES[role])
    modules = product_modules()
    for module in modules:
        for name in CONSTANTS.keys() & vars(module).keys():
            setattr(module, name, CONSTANTS[name])
    queue = importlib.import_module("jobs.queue")
    queue.make_app = _impatient(queue.make_app)  # type: ignore[attr-defined]
    for module in modules:
        if "make_app" in vars(module):
            module.make_app = queue.make_app


def _impatient(make_app: Callable[..., Any]) -> Callable[..., Any]:
    def made(*arguments: Any, **named: Any) -> Any:
        app = make_app(*arguments, **named)
        app.conf.broker_transport_options = dict(app.conf.broker_transport_options) | TRANSPORT
        return app

    return made
