"""The list of the parts that are history now, and of the batch up to which they are complete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from ingest.cursors import sync_folder
from ingest.store import Cursor, StoreError

NAME = "manifest.json"
Count = Annotated[int, msgspec.Meta(ge=0)]


class Part(msgspec.Struct, frozen=True):
    """A Parquet file with rows of one site and one UTC day (days since 1970) of event time.
    `level` counts how often its rows have been merged; minima and maxima are included."""

    file: Annotated[str, msgspec.Meta(pattern=r"^[^/]+\.parquet$")]
    site: str
    day: int
    level: Count
    rows: Count
    bytes: Count
    min_time_us: int
    max_time_us: int
    min_arrival_us: int
    max_arrival_us: int


class Replaced(msgspec.Struct, frozen=True):
    """A part whose rows are in another one since `at_us` of wall time; readers may hold it yet."""

    file: Annotated[str, msgspec.Meta(pattern=r"^[^/]+\.parquet$")]
    at_us: int


class Manifest(msgspec.Struct, frozen=True):
    """`next` numbers the next part: no number is ever given to two parts of a manifest."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    cursor: Cursor | None = None
    next: Count = 1
    parts: tuple[Part, ...] = ()
    replaced: tuple[Replaced, ...] = ()


def read_manifest(folder: Path) -> Manifest:
    """What `folder` holds; nothing if it was never used. StoreError (permanent) names the file
    where the list is gone or damaged: parts without it must not pass for an empty history."""
    file = folder / NAME
    try:
        return msgspec.json.decode(file.read_bytes(), type=Manifest)
    except FileNotFoundError:
        if next(folder.glob("*.parquet"), None) is None:
            return Manifest()
        text = f"{file} is missing, but there are parts: {_REMEDY}"
        raise StoreError(text, permanent=True) from None
    except OSError as error:
        raise StoreError(f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"{file} is damaged ({error}): {_REMEDY}", permanent=True) from error


_REMEDY = (
    "put back a copy of it, or move the folder aside to begin an empty history, "
    "which is filled from what the journal still keeps"
)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Returns when it is on disk in place of the old one. Raises OSError, with the old in force."""
    file, fresh = folder / NAME, folder / f"{NAME}.tmp"
    with fresh.open("wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
    sync_folder(folder)


def sync_file(file: Path) -> None:
    """Returns when the content of the file is on disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
