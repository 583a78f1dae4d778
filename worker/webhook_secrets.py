"""What signs for the hooks that jobs bring along; registered endpoints have secrets of their own (`jobs.telling`)."""

from __future__ import annotations

from pathlib import Path

from jobs.errors import SettingsError
from jobs.files import kept
from jobs.net.signature import new_secret, secret_bytes
from jobs.settings import Settings

_SECRET_FILE = "webhook-secret"  # noqa: S105  (a file's name)


def own_secrets(settings: Settings) -> tuple[str, ...]:
    """The newest first; made and kept in the data folder where none is set.

    Raises:
        SettingsError: what is kept there is no secret.
    """
    if settings.webhook_secret is None:
        newest = _kept_secret(settings.data_dir / _SECRET_FILE)
    else:
        newest = settings.webhook_secret.get_secret_value()
    previous = settings.webhook_secret_previous
    return (newest,) if previous is None else (newest, previous.get_secret_value())


def _kept_secret(path: Path) -> str:
    secret = kept(path, new_secret)
    try:
        secret_bytes(secret)
    except ValueError as error:
        raise SettingsError(f"{path} {error}; restore it, or remove it, and another is made") from error
    return secret
