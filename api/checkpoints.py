"""Checkpoints as files: which batch of which journal a state of the engine belongs to."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ingest.cursors import replace_file

log = logging.getLogger(__name__)

KEPT = 3  # a damaged newest file must not cost the whole recovery


class Saved(msgspec.Struct):
    """A state of the engine after batch `batch` of `journal`."""

    journal: str
    batch: int
    state: bytes


def write_checkpoint(folder: Path, saved: Saved) -> None:
    """Returns when it is on disk; older ones beyond the newest three are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{saved.batch:012d}.ckpt", msgspec.msgpack.encode(saved), sync=True)
    for old in sorted(folder.glob("*.ckpt"))[:-KEPT]:
        old.unlink(missing_ok=True)


def read_checkpoints(folder: Path, journal: str, last: int) -> list[Saved]:
    """Those of this journal that are not ahead of its batch `last`, newest first."""
    found = []
    for file in sorted(folder.glob("*.ckpt"), reverse=True):
        try:
            saved = msgspec.msgpack.decode(file.read_bytes(), type=Saved)
        except (msgspec.MsgspecError, OSError) as error:
            log.warning("checkpoint=%s unreadable: %s", file.name, error)
            continue
        if saved.journal == journal and saved.batch <= last:
            found.append(saved)
    return found


@dataclass(slots=True)
class CheckpointWriter:
    """Writes beside the commits, in a thread of its own; a write that is still under way is not
    joined by another, so that a slow disk costs checkpoints, not readings."""

    folder: Path
    newest: int = 0  # the batch of the newest one on disk
    failures: int = 0
    busy: threading.Event = field(default_factory=threading.Event)

    def offer(self, saved: Saved) -> None:
        if self.busy.is_set():
            return
        self.busy.set()
        threading.Thread(target=self._write, args=(saved,), name="checkpoint").start()

    def _write(self, saved: Saved) -> None:
        try:
            write_checkpoint(self.folder, saved)
            self.newest = saved.batch
        except OSError as error:
            self.failures += 1
            log.warning("checkpoint batch=%d not written: %s", saved.batch, error)
        finally:
            self.busy.clear()
