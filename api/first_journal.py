"""At a first start watch makes the journal while the others begin: they wait for it."""

from __future__ import annotations

import threading
import time

from api.settings import Settings
from ingest.journal import JournalError
from ingest.segments import SegmentReader, open_reader

LOOK_EVERY_S = 0.2


def first_journal(
    settings: Settings, stop: threading.Event, patience_s: float = float("inf")
) -> SegmentReader | None:
    """A reader of the journal once there is one; None after `patience_s`, or at `stop`."""
    end_s = time.monotonic() + patience_s
    while not stop.is_set() and time.monotonic() < end_s:
        try:
            return open_reader(settings.data_dir / "journal")
        except JournalError:
            stop.wait(LOOK_EVERY_S)
    return None
