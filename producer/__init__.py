"""Puts work in: requests, manifests, campaigns, and what is handed back. Never imports the worker."""

from jobs.request import BlendRequest
from producer.client import Finished, Producer

__all__ = ["BlendRequest", "Finished", "Producer"]
