"""One service clock for all three processes, kept in the data folder where it is simulated."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from api.settings import Settings
from ingest.clock import Clock
from ingest.cursors import replace_file


class Kept(msgspec.Struct):
    """A simulated clock as it was started; `asked` is the setting it was started for."""

    start_us: int
    speed: float
    wall0_us: int
    asked: tuple[str | None, float]


def open_clock(settings: Settings) -> Clock:
    """The clock of this data folder. A simulated one goes on over restarts, at a new speed from
    where it was; it never goes back. ValueError: simulated, and not allowed."""
    clock = settings.service_clock()
    if not clock.simulated:
        return clock
    file = settings.data_dir / "clock.json"
    asked = (settings.clock.start, settings.clock.speed)
    kept = _read(file)
    if kept is None or kept.asked != asked:
        now_us = clock.now_us() if kept is None else max(clock.now_us(), _clock(kept).now_us())
        kept = Kept(now_us, clock.speed, time.time_ns() // 1_000, asked)
        replace_file(file, msgspec.json.encode(kept), sync=True)
    return _clock(kept)


def _read(file: Path) -> Kept | None:
    return msgspec.json.decode(file.read_bytes(), type=Kept) if file.exists() else None


def _clock(kept: Kept) -> Clock:
    return Clock(kept.start_us, kept.speed, kept.wall0_us)
