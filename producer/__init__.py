"""Puts work in: requests, manifests, campaigns, and what is handed back. Never imports the worker."""

from jobs.request import BlendRequest
from jobs.telling.changes import Changed
from producer.async_client import AsyncProducer
from producer.client import Producer
from producer.following import Finished

__all__ = ["AsyncProducer", "BlendRequest", "Changed", "Finished", "Producer"]
