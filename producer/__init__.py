"""Puts work in: requests, manifests, campaigns, and what is handed back. Never imports the worker."""

from jobs.changes import Changed
from jobs.request import BlendRequest
from producer.async_client import AsyncProducer
from producer.client import Producer
from producer.following import Finished

__all__ = ["AsyncProducer", "BlendRequest", "Changed", "Finished", "Producer"]
