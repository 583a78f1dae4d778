"""Logs of the worker's processes: on standard error, and none of Celery's own making."""

from __future__ import annotations

import functools

from celery import signals

from jobs.logs import log_to_stderr


@functools.cache
def set_up_logging() -> None:
    """As `log_to_stderr`; and Celery is told to leave logging alone."""
    log_to_stderr()
    signals.setup_logging.connect(_logging_is_set_up)


def _logging_is_set_up(**_: object) -> None:
    """A receiver of this signal is what keeps Celery from setting up logging by itself."""
