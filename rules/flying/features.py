"""What the course of a hypothesis looks like: the numbers from which it is scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.readings import Mask, Numbers, Times
from rules.flying.hypotheses import BAND, SLOT_MINUTES, known_median, repeats, residuals
from rules.flying.level import sum_columns
from rules.kind import Columns, Rows

SETTLED_MINUTES = 45  # after the step the amplitude is measured; later it is kept
KNEE = 0.9
FIRST_SLOTS = 2  # the level still rises then


@dataclass(frozen=True, slots=True)
class Features:
    """(k,) each; shares are of the amplitude. `plateau` is minutes within the amplitude's band;
    `slope` a share per hour and `ripple` the scatter about that line, NaN for fewer than 4 slots;
    `scatter` what 1-min means scattered before the load came on; `fall` how far it is below its
    plateau and `fall_minutes` since when, `jump` and `rise` the largest fall and rise in 3 min
    since then; `repeats` how many like it were switched off in the 12 h before."""

    amplitude: Numbers
    plateau: Numbers
    ripple: Numbers
    slope: Numbers
    scatter: Numbers
    fall: Numbers
    fall_minutes: Numbers
    jump: Numbers
    rise: Numbers
    repeats: Numbers


def look(memory: Columns, rows: Rows, h: Rows, minute: Times) -> Features:
    """Of the hypotheses (row, h), as of the end of `minute`. Writes nothing."""
    on = memory["on"][rows, h]
    course = residuals(memory, rows, h, minute)
    back = np.arange(course.shape[1])[None, :]
    slots = (minute + 1) // SLOT_MINUTES - (on + SLOT_MINUTES) // SLOT_MINUTES
    settled = np.where(back <= slots[:, None] - FIRST_SLOTS, course, np.nan)
    middle = known_median(settled)
    young = (minute - on <= SETTLED_MINUTES) & (middle > 0)
    amplitude = np.where(young, middle, memory["amplitude"][rows, h])
    share = settled / amplitude[:, None]
    knee = _knee(share)
    plateau = (back >= knee[:, None]) & (share >= BAND[0]) & (share <= BAND[1])
    slope, ripple = _line(share, plateau)
    falls = np.diff(share, axis=1)  # newest first: what a slot lost against the one before it
    tail = back[:, :-1] < knee[:, None]
    return Features(
        amplitude=amplitude,
        plateau=memory["in_band"][rows, h].astype(np.float64),
        ripple=ripple,
        slope=slope,
        scatter=memory["rough_before"][rows, h] / amplitude,
        fall=np.clip(1.0 - np.nan_to_num(share[:, 0], nan=1.0), 0.0, 1.0),
        fall_minutes=(knee * SLOT_MINUTES).astype(np.float64),
        jump=_largest(falls, tail),
        rise=_largest(-falls, tail),
        repeats=repeats(memory, rows, h, memory["since"][rows, h]).astype(np.float64),
    )


def _knee(share: Numbers) -> Times:
    """(k,) how many slots ago the course was last on its plateau."""
    on = np.nan_to_num(share, nan=0.0) >= KNEE
    return np.where(on.any(axis=1), np.argmax(on, axis=1), 0)


def _largest(changes: Numbers, where: Mask) -> Numbers:
    return np.asarray(np.max(np.where(where, np.nan_to_num(changes), 0.0), axis=1), np.float64)


def _line(share: Numbers, where: Mask) -> tuple[Numbers, Numbers]:
    """Slope per hour and scatter about the straight line through the slots `where`; NaN: < 4."""
    hours = -np.arange(share.shape[1])[None, :] * (SLOT_MINUTES / 60.0)
    x = np.where(where, hours, 0.0)
    y = np.where(where, share, 0.0)
    n = np.count_nonzero(where, axis=1).astype(np.float64)
    sx, sy, sxx, sxy, syy = (sum_columns(part) for part in (x, y, x * x, x * y, y * y))
    enough = n >= 4
    n = np.where(enough, n, 4.0)
    spread = np.where(enough, sxx - sx * sx / n, 1.0)
    slope = (sxy - sx * sy / n) / spread
    left = np.maximum(syy - sy * sy / n - slope * (sxy - sx * sy / n), 0.0)
    ripple = np.sqrt(left / (n - 2.0))
    return np.where(enough, slope, np.nan), np.where(enough, ripple, np.nan)
