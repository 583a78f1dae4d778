"""From the API's view of a task to the event that it means for a job."""

from __future__ import annotations

from jobs.events import TaskSeen
from worker.proxy.task import TaskView, classify_failure


def seen(attempt: int, view: TaskView, source: str) -> TaskSeen:
    """
    Args:
        attempt: the attempt that the task belongs to.
        view: the task as the API shows it.
        source: "callback", "poll" and so on, for the history.
    """
    return TaskSeen(
        attempt=attempt,
        task_id=view.task_id,
        status=view.status,
        progress=view.progress,
        image_url=view.image_url,
        failure=classify_failure(view.fail_reason),
        fail_reason=view.fail_reason or "",
        source=source,
        seed=view.seed,
    )
