"""What a process says of itself once a second, for the others and for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ingest.cursors import replace_file
from ingest.inputs import Json


def write_status(folder: Path, name: str, status: Mapping[str, Json]) -> None:
    """Replaces `folder/name.json` in one step; not synced, as it is news and no record."""
    replace_file(folder / f"{name}.json", msgspec.json.encode(dict(status)), sync=False)


def read_status(folder: Path, name: str) -> dict[str, Json] | None:
    """What a process said last, or None if it has said nothing readable."""
    try:
        status = msgspec.json.decode((folder / f"{name}.json").read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return status if isinstance(status, dict) else None
