"""The gallery: pictures that came in, and links to those that go out.

It plays the CDN, which outlives the server's memory.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.sandbox import pictures
from ops.sandbox.journal import Journal
from ops.sandbox.pictures import PictureSpec


class Gallery:
    """
    Args:
        directory: where the pictures are kept.
        workers: draw them.
        shrink: by what each side of a picture is divided.
    """

    def __init__(self, directory: Path, workers: ThreadPoolExecutor, shrink: int = 1) -> None:
        self._inputs = directory / "inputs"
        self._made = directory / "pictures"
        self._inputs.mkdir(exist_ok=True)
        self._made.mkdir(exist_ok=True)
        self._workers = workers
        self._shrink = shrink
        self._known: set[str] = {path.name for path in self._inputs.glob("*") if "." not in path.name}
        self._journal = Journal(directory / "pictures.jsonl")
        self._specs: dict[str, PictureSpec] = {}
        self._spoils: dict[str, str] = {}
        for entry in self._journal.entries():
            self._specs[entry["name"]] = PictureSpec.from_json(entry["spec"])
            self._spoils[entry["name"]] = entry.get("spoil", "")
        self._links: dict[str, int] = {}

    def keep_input(self, digest: str, content: bytes) -> None:
        """Check and keep one input, once however often it comes. Called from worker threads.

        Raises:
            BadPicture: it is no picture.
        """
        if digest in self._known:
            return
        pictures.check(content)
        _write_whole(self._inputs / digest, content)
        self._known.add(digest)

    def publish(self, name: str, spec: PictureSpec, spoil: str = "") -> None:
        """Make `name` a picture that can be fetched. It is drawn when somebody first asks for it.

        Args:
            spoil: one of `faults.SPOILS` that comes instead of it, for ever.
        """
        if name not in self._specs:
            self._specs[name] = spec
            self._spoils[name] = spoil
            self._journal.append({"name": name, "spec": spec.as_json(), "spoil": spoil})

    def spoil(self, name: str) -> str:
        """What comes instead of this picture; empty when nothing does."""
        return self._spoils.get(name, "")

    def link(self, name: str) -> str:
        """The picture's path with the query that it needs."""
        number = self._links.get(name, 0)
        return f"/pictures/{name}.png?ex={number:08x}&is=5f0e7a10&hm={name.rpartition('_')[2]}"

    def renew_link(self, name: str, expire: bool | str) -> None:
        """A fresh fetch of the task: hand out another link from now on, where links expire."""
        number = self._links.get(name, 0)
        if expire is True or (expire == "once" and number == 0):
            self._links[name] = number + 1

    def link_works(self, name: str, number: str | None, expire: bool | str) -> bool:
        """Whether the link with this `ex` still opens the picture."""
        try:
            given = int(number or "", 16)
        except ValueError:
            return False
        if expire is True:
            return 0 < given == self._links.get(name, 0)
        return given > 0 if expire == "once" else True

    async def picture(self, name: str) -> bytes | None:
        """The PNG, drawn now if it was not yet; None when there is no such picture."""
        spec = self._specs.get(name)
        if spec is None:
            return None
        drawn = await asyncio.get_running_loop().run_in_executor(self._workers, self._drawn, spec)
        return pictures.marked(drawn, name)

    def close(self) -> None:
        self._journal.close()

    def _drawn(self, spec: PictureSpec) -> bytes:
        path = self._made / f"{spec.digest()}.png"
        if path.exists():
            return path.read_bytes()
        inputs = [(self._inputs / digest).read_bytes() for digest in spec.inputs]
        content = pictures.render(spec, inputs, self._shrink)
        _write_whole(path, content)
        return content


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.{threading.get_ident()}.part")
    part.write_bytes(content)
    part.replace(path)
