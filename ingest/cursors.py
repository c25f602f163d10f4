"""How far each consumer of the journal has come, in one small file a consumer."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from ingest.store import Cursor

_log = logging.getLogger(__name__)


def write_cursor(folder: Path, name: str, cursor: Cursor) -> None:
    """Returns when the cursor is on disk in place of the one before; OSError if it cannot be."""
    replace_file(folder / f"{name}.json", msgspec.json.encode(cursor), sync=True)


def read_cursors(folder: Path) -> dict[str, Cursor]:
    """The cursors by the consumers' names. One that cannot be read counts as batch 0 of no
    journal, so that it holds everything back until its consumer writes it again."""
    return {file.stem: _read(file) for file in sorted(folder.glob("*.json"))}


def _read(file: Path) -> Cursor:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Cursor)
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("cursor unreadable file=%s error=%s", file, error)
        return Cursor("", 0)


def replace_file(file: Path, data: bytes, *, sync: bool) -> None:
    """Puts `data` in place of a file, whole or not at all; with `sync` it is on disk on return."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    with beside.open("wb") as stream:
        stream.write(data)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())
    beside.replace(file)
    if sync:
        sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
