"""A backend service that enqueues work: start a stack (`blendq up --sandbox`), then run this file.

It talks to the stack whose settings are in the environment; `blendq up` says where its data is:

    BLENDQ_DATA_DIR=… python examples/service.py
"""

from __future__ import annotations

from pathlib import Path

from producer import BlendRequest, Producer

HERE = Path(__file__).parent


def main() -> None:
    with Producer() as blends:
        request = BlendRequest(
            images=(str(HERE / "whale.webp"), str(HERE / "city.webp")),
            dimensions="LANDSCAPE",
            custom_id="order-20",
            metadata={"customer": 4711},
        )
        # The same key is the same job, so a service that was restarted may simply enqueue it again.
        job = blends.enqueue(request, idempotency_key="order-20")
        done = blends.wait(job, timeout_seconds=600)
        print(job.id, done.status, done.picture or done.reason)


if __name__ == "__main__":
    main()
