"""What is blended, and how: the part of a request that decides which picture comes of it."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from jobs.request import BlendRequest, BotType, Dimensions, Mode

_ID_CHARACTERS = 32
canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def options_json(request: BlendRequest) -> str:
    """What changes the picture, or who may make it, as JSON that is the same for the same options.

    `state` is not part of it, although the API sees it: it is a label that changes nothing in the picture, and the
    same content twice is to be one job and paid once; like `custom_id`, `metadata`, `priority` and `notify_hook`.
    """
    return _options(
        request.bot_type,
        request.dimensions,
        request.instance_id,
        request.modes,
        request.upstream,
        request.remix,
        request.remix_auto_considered,
    )


def content_id(request: BlendRequest) -> str:
    """The same for the same pictures with the same options, in whatever campaign.

    Args:
        request: its images are digests.
    """
    content = f"{options_json(request)} {' '.join(request.images)}"
    return hashlib.sha256(content.encode()).hexdigest()[:_ID_CHARACTERS]


@lru_cache(maxsize=1024)  # the rows of a campaign mostly share them
def _options(
    bot_type: BotType,
    dimensions: Dimensions,
    instance_id: str | None,
    modes: tuple[Mode, ...],
    upstream: str | None,
    remix: bool | None,
    remix_auto_considered: bool | None,
) -> str:
    """Options that are not set are left out, so that an option which is added one day changes no id of today."""
    options = {
        "instance_id": instance_id,
        "modes": sorted(set(modes)) or None,  # a set of permissions: their order means nothing
        "upstream": upstream,
        "remix": remix,
        "remix_auto_considered": remix_auto_considered,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return canonical({"bot_type": bot_type, "dimensions": dimensions} | given)
