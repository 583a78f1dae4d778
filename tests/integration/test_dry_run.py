"""`blendq run --dry-run`: what it tells of a campaign that was begun."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from PIL import Image

from jobs import events
from ops.cli.dry_run import forecast
from producer import BlendRequest, Producer
from producer.manifests.sources import ManifestFile
from tests.integration.commands import UPLOADED, happen, succeed


def test_what_waits_and_was_not_paid_for_is_still_to_be_paid(blends: Producer, tmp_path: Path) -> None:
    """As after an interruption, or where a budget was spent: it was told to cost nothing."""
    settings = blends.settings.model_copy(update={"price_per_job": 0.5})
    files = [str(tmp_path / f"{number}.png") for number in range(6)]
    for file in files:
        Image.effect_noise((16, 16), 90).save(file)
    pairs = [list(pair) for pair in pairwise(files)]
    jobs = list(blends.enqueue_many([BlendRequest(images=pair) for pair in pairs[:4]], campaign="begun"))
    happen(blends, jobs[0].id, *UPLOADED, events.Answer(1, events.AnswerKind.ACCEPTED, "task-begun"))
    happen(blends, jobs[1].id, *UPLOADED, events.NoAnswer(1, "reset"))
    succeed(blends, jobs[2].id)
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps({"images": pair}) + "\n" for pair in pairs))

    found = forecast(ManifestFile(manifest), "begun", settings, blends, None)
    told = found.numbers(settings)
    assert (told["new"], told["enqueued"], told["done"], told["cost"]) == (1, 3, 1, 1.0)
    sizes = sum(Path(file).stat().st_size for file in (*pairs[3], *pairs[4]))
    assert sizes < found.bytes_to_send < 2 * sizes
    reusing = forecast(ManifestFile(manifest), "other", settings, blends, None, reuse=True)
    assert (reusing.new, reusing.reused) == (4, 1)
