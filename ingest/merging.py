"""Which parts to merge next: many small ones of a day as they come, all of a day that is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ingest.clock import US_PER_S
from ingest.manifest import Part
from ingest.sift import DAY_US

MANY = 8
"""So many parts of one level of a day are merged: a row is rewritten log8(appends a day) times."""

FULL_ROWS = 500_000
"""A part of this size is left alone: it answers as fast as a larger one (docs/decisions/0004)."""

SETTLED_US = 3_600 * US_PER_S
"""After this long without news a day that is over is merged into as few parts as can be."""


def parts_to_merge(parts: Iterable[Part]) -> tuple[Part, ...]:
    """At least two parts of one site and day, with together fewer than 2 x FULL_ROWS rows; or
    none if all is well. Newest days first."""
    days: defaultdict[tuple[int, str], list[Part]] = defaultdict(list)
    now_us = 0
    for part in parts:
        now_us = max(now_us, part.max_arrival_us)
        if part.rows < FULL_ROWS:
            days[part.day, part.site].append(part)
    for key in sorted(days, reverse=True):
        if chosen := _crowded(days[key]) or _settled(days[key], now_us):
            return chosen
    return ()


def _crowded(parts: Sequence[Part]) -> tuple[Part, ...]:
    levels: defaultdict[int, list[Part]] = defaultdict(list)
    for part in parts:
        levels[part.level].append(part)
    for level in sorted(levels):
        if len(levels[level]) >= MANY:
            return _within_limit(levels[level])
    return ()


def _settled(parts: Sequence[Part], now_us: int) -> tuple[Part, ...]:
    last_us = max((part.day + 1) * DAY_US for part in parts)
    last_us = max(last_us, *(part.max_arrival_us for part in parts))
    if len(parts) < 2 or now_us < last_us + SETTLED_US:
        return ()
    return _within_limit(parts)


def _within_limit(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The smallest, as many as fit: two always do, as each is smaller than half the limit."""
    chosen: list[Part] = []
    rows = 0
    for part in sorted(parts, key=lambda part: (part.rows, part.file)):
        rows += part.rows
        if rows >= 2 * FULL_ROWS:
            break
        chosen.append(part)
    return tuple(chosen)
