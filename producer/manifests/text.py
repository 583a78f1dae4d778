"""A manifest's text, line by line, whatever the file turns out to be."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jobs.errors import ManifestError
from jobs.opening import OutsideFolder, open_within

MAX_LINE_CHARACTERS = 64 << 20  # a line may carry five pictures as data URLs


def open_text(path: Path, root: Path | None = None) -> IO[str]:
    """A manifest, which must be in `root`, links followed; None for anywhere."""

    def opener(*_: object) -> int:
        return open_within(path, root)

    try:
        # newline="": line ends are left as they are, for csv; utf-8-sig: spreadsheets start a file with a mark.
        file = open(path, encoding="utf-8-sig", newline="", opener=opener)  # noqa: SIM115  (the caller's)
    except OutsideFolder as error:
        raise ManifestError(f"{path}: is outside the folder that manifests may come from") from error
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such file; check the name") from error
    except IsADirectoryError as error:
        raise ManifestError(f"{path}: is a folder; give the manifest in it") from error
    except PermissionError as error:
        raise ManifestError(f"{path}: may not be read; allow this user to read it") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ManifestError(f"{str(path)[:200]}: cannot be opened ({why}); check the name") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ManifestError(f"{path}: is not a regular file; save it as one, for it is read more than once")
    return file


def lines_of(path: Path, file: IO[str]) -> Iterator[str]:
    """The file's lines with their ends, each at most MAX_LINE_CHARACTERS long."""
    number = 0
    try:
        while line := file.readline(MAX_LINE_CHARACTERS + 1):
            number += 1
            if len(line) > MAX_LINE_CHARACTERS:
                limit = f"the limit of {MAX_LINE_CHARACTERS:,} characters"
                raise ManifestError(f"{path}: line {number} is over {limit}; name picture files, not their data")
            if "\0" in line:
                raise ManifestError(f"{path}: is not a text file (line {number}); save it as UTF-8 text")
            yield line
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: {_not_utf8(path)}; save it as UTF-8") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}); check the file") from error


def is_text(name: str) -> bool:
    """Whether a file's name is Unicode; Python keeps the bytes of others as halves of surrogate pairs."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_utf8(path: Path) -> str:
    """What its bytes are instead; text is decoded in pieces, which end anywhere but at a line's end."""
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "is UTF-16 text"
        file.seek(0)
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_CHARACTERS), b""), 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"line {number} is not UTF-8 text"
    return "is not UTF-8 text"
