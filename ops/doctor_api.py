"""What `blendq doctor` finds of the APIs, and of the way back for callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from jobs.errors import BlendqError
from jobs.net.addresses import is_public
from jobs.settings import Settings
from jobs.upstreams import Upstream
from ops.findings import Finding, Level, skew
from worker.proxy.client import ProxyClient
from worker.proxy.lookups import CannotTell

ASK_SECONDS = 10.0
_OF_THE_API = ("KEY", "AUTH", "URL")
# No server numbers its tasks so.
NO_TASK = "blendq-doctor"


def apis(settings: Settings) -> Iterator[Finding]:
    if not settings.apis:
        advice = "set BLENDQ_API_URL and BLENDQ_API_KEY; or try things with --sandbox"
        yield Finding("api", Level.WARNING, "none is configured", advice)
    for one in settings.apis:
        name = f"api {one.name}" if settings.upstreams else "api"
        yield _api(name, one, settings)
        yield from _api_clock(name, one)


def _api(name: str, api: Upstream, settings: Settings) -> Finding:
    try:
        with ProxyClient.of(api, settings) as proxy:
            answer = proxy.fetch(NO_TASK)
    except BlendqError as error:
        return Finding(name, Level.WRONG, str(error), "mend the setting that it names")
    key, auth, url = ("key", "auth", "url") if settings.upstreams else (f"BLENDQ_API_{one}" for one in _OF_THE_API)
    if isinstance(answer, CannotTell) and answer.key_refused:
        advice = f"set {key} to a key that it takes, and {auth} to the header that it wants"
        return Finding(name, Level.WRONG, f"{api.url} refuses the key", advice)
    if isinstance(answer, CannotTell) and not answer.answered:
        return Finding(name, Level.WRONG, f"{api.url}: {answer.message}", f"look at {url}; jobs wait until it answers")
    if isinstance(answer, CannotTell):
        advice = "is it the address where /mj/submit/blend lives?"
        return Finding(name, Level.WARNING, f"{api.url} answers oddly: {answer.message}", advice)
    return Finding(name, Level.OK, f"{api.url} answers, and takes the key")


def _api_clock(name: str, api: Upstream) -> Iterator[Finding]:
    try:
        answer = httpx.head(api.url, timeout=ASK_SECONDS, trust_env=False)
        theirs = parsedate_to_datetime(answer.headers["date"])
    except (httpx.HTTPError, KeyError, ValueError):
        return  # it has no clock to compare with
    yield skew(f"{name} clock", theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))  # -0000: in UTC, of no zone


def receiver(settings: Settings) -> Iterator[Finding]:
    if settings.public_url is None:
        says = "public_url is not set: blendq asks the API instead of being called back"
        advice = "set BLENDQ_PUBLIC_URL where the API can reach the receiver: pictures come a little sooner"
        yield Finding("callbacks", Level.WARNING, says, advice)
        return
    url = str(settings.public_url).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_local(parts.hostname or ""):
        says = f"{url} is not https: who sees a callback's address can forge the next"
        yield Finding("callbacks", Level.WARNING, says, "put a proxy with TLS before it (docs/deploy.md)")
    try:
        status = httpx.post(f"{url}/hooks/doctor", timeout=ASK_SECONDS, trust_env=False).status_code
    except httpx.HTTPError as error:
        says = f"{url} is not reached from here ({type(error).__name__})"
        yield Finding("callbacks", Level.WRONG, says, "start `blendq receiver`, and look at the proxy before it")
        return
    if status not in (404, 429):
        says = f"{url} answers HTTP {status} to a forged callback, which is not the receiver's answer (404)"
        yield Finding("callbacks", Level.WRONG, says, "let the proxy pass /hooks/ on to the receiver")
    else:
        says = f"{url} reaches the receiver from here; whether the API reaches it too, only a first callback tells"
        yield Finding("callbacks", Level.OK, says)


def _is_local(host: str) -> bool:
    """Whether API and receiver talk on one machine or network, as with the sandbox."""
    try:
        return not is_public(ip_address(host))
    except ValueError:
        return "." not in host
