"""Checkpoints of training as objects: a machine that is lost is continued by another one.

Training writes to a folder of its machine, which comes first. Every minute the checkpoints there that have changed are
copied to the store; large files beside them, which can be made again, are not.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path

from aepipe.errors import StoreError
from aepipe.store import layout
from aepipe.store.backends.bucket import Bucket

logger = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two copies."""
SAVED = "*.safetensors"
"""What is copied."""


class Checkpoints:
    """The checkpoints of one store.

    Args:
        bucket: of the store.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._guard = threading.Lock()
        self._folders: dict[str, Path] = {}
        self._saved: dict[Path, int] = {}
        self._thread: threading.Thread | None = None

    def begin(self, digest: str, folder: Path) -> None:
        """Bring back what another machine saved later than this one, and copy from now on."""
        with self._guard:
            if digest in self._folders:
                return
            self._restore(digest, folder)
            self._folders[digest] = folder
            if self._thread is None or not self._thread.is_alive():  # none yet, or this process was forked
                self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                self._thread.start()

    def end(self, digest: str) -> None:
        """Remove what was copied."""
        with self._guard:
            self._folders.pop(digest, None)
            for name in self._bucket.listed(f"{layout.Root.WORK}/{digest}"):
                self._bucket.delete(f"{layout.Root.WORK}/{digest}/{name}")

    def save(self) -> None:
        """Copy what has changed since the last time."""
        with self._guard:
            for digest, folder in self._folders.items():
                for file in folder.glob(SAVED):
                    with suppress(FileNotFoundError):  # replaced at this moment; the next time will do
                        self._copy(f"{layout.Root.WORK}/{digest}/{file.name}", file)

    def _copy(self, key: str, file: Path) -> None:
        about = file.stat()
        if self._saved.get(file) == about.st_mtime_ns:
            return
        there = self._bucket.info(key)
        if there is None or there.modified < about.st_mtime:  # else another process of this training has copied it
            # Training replaces its file by another one; what is open stays whole.
            self._bucket.put(key, file.read_bytes())
        self._saved[file] = about.st_mtime_ns

    def _restore(self, digest: str, folder: Path) -> None:
        for name, found in self._bucket.listed(f"{layout.Root.WORK}/{digest}").items():
            file = folder / name
            if "/" in name or (file.exists() and file.stat().st_mtime >= found.modified - EVERY):
                continue
            part = file.with_name(f".{name}.part")
            self._bucket.download(f"{layout.Root.WORK}/{digest}/{name}", part)
            part.replace(file)
            self._saved[file] = file.stat().st_mtime_ns

    def _run(self) -> None:
        while True:
            time.sleep(EVERY)
            with self._guard:
                if not self._folders:
                    self._thread = None
                    return
            try:
                self.save()
            except StoreError as error:  # training goes on; the next copy may succeed
                logger.warning("a checkpoint is not copied: %s", error)
