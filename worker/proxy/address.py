"""Where the API is, and what every request to it carries."""

from __future__ import annotations

import base64
import re
from importlib import metadata
from urllib.parse import quote

import httpx

from jobs.errors import SettingsError
from jobs.upstreams import ApiAuth


def checked_url(base_url: str) -> str:
    """`base_url` without a closing slash.

    Raises:
        SettingsError: it is not an http:// or https:// address.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError) as error:
        raise SettingsError(f"api_url is not an address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError("api_url must look like https://host or https://host/path")
    return base_url.rstrip("/")


def headers(base_url: str, key: str | None, auth: ApiAuth) -> dict[str, str]:
    """The headers of every request; the key under one name only, as one family reads `Authorization` first, and raw.

    A user and a password in the address are those of a network proxy in front of the API, and go before a bearer key.

    Raises:
        SettingsError: the key cannot be sent; does not show it.
    """
    # Checked here because what the HTTP layers raise about a header shows its value.
    if key and not re.fullmatch(r"[\x21-\x7e]+", key):
        raise SettingsError("api_key holds characters that no header can carry (spaces, line ends, non-ASCII)")
    url = httpx.URL(base_url)
    sent = {
        "Host": url.netloc.decode("ascii"),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"blendq/{_version()}",
    }
    if key:
        sent |= {"Authorization": f"Bearer {key}"} if auth is ApiAuth.BEARER else {"mj-api-secret": key}
    if url.username or url.password:
        sent["Authorization"] = "Basic " + base64.b64encode(f"{url.username}:{url.password}".encode()).decode("ascii")
    return sent


def path_segment(task_id: str) -> str:
    """A task id as one segment of a path. Dots are encoded too: `..` would be resolved into another call."""
    return quote(task_id, safe="").replace(".", "%2E")


def _version() -> str:
    try:
        return metadata.version("blendq")
    except metadata.PackageNotFoundError:
        return "0"
