"""Disks that are full: a real one where mounting is allowed, else the limit on the size of files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ops.chaos.disk import SmallDisk, limited_files

# For each line that it reads it writes a byte to a file, and says how that went.
WRITER = """
import sys
from pathlib import Path
for _ in sys.stdin:
    try:
        Path(sys.argv[1]).write_text("x")
        print("written", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


def test_a_full_disk_takes_not_a_byte_and_then_does_again(tmp_path: Path) -> None:
    disk = SmallDisk.mounted(tmp_path / "disk")
    if disk is None:
        pytest.skip("this user may not mount anything")
    try:
        (tmp_path / "disk" / "before").write_bytes(b"x" * 5000)
        with disk.full(), pytest.raises(OSError, match="No space left"):
            (tmp_path / "disk" / "more").write_bytes(b"x" * 5000)
        (tmp_path / "disk" / "after").write_bytes(b"x" * 5000)
        assert (tmp_path / "disk" / "before").read_bytes() == b"x" * 5000
    finally:
        disk.close()
    assert not (tmp_path / "disk" / "before").exists()


def test_a_process_whose_files_are_limited_cannot_write_until_it_is_over(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "file")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:

        def write() -> str:
            assert writer.stdin
            assert writer.stdout
            print("write", file=writer.stdin, flush=True)
            return writer.stdout.readline().strip()

        with limited_files([writer.pid, None]):
            limited = write()
        free = write()
        writer.kill()
    assert (limited, free) == ("File too large", "written")
