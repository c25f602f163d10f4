"""The level of a circuit: what is always on, without fridges, kettles and lamps; and its steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.readings import Numbers, Times
from rules.kind import NEVER_US, Columns, Rows

POWERS = 128  # minutes of means that are kept: two hours for a person, half an hour for the level
LEVELS = 64
WINDOW = 31
PERCENTILE = 0.2
ENOUGH = 16  # minutes of a window without which there is no level
RISE_LAG = 25  # after a step up so many minutes of a window are above before its percentile is
FALL_LAG = 7
HALF = 6  # minutes on either side of a step
STEP_W = 16.0


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps that were made out just now: `size` W (0: none), `at` the minute of the level."""

    size: Numbers
    at: Times


def fresh_level(n: int) -> Columns:
    """Rings by minute (minute modulo their size), NaN where unknown, and the step in the making."""
    return {
        "power": np.full((n, POWERS), np.nan, np.float32),
        "level": np.full((n, LEVELS), np.nan, np.float32),
        "rough": np.full((n, LEVELS), np.nan, np.float32),
        "peak": np.zeros(n),
        "peak_at": np.full(n, NEVER_US, np.int64),
    }


def ring(
    column: NDArray[np.float32], rows: Rows, minute: Times, back: NDArray[np.int64]
) -> Numbers:
    """(k, len(back)): what `column` holds for the minutes `minute - back`."""
    slots = (minute[:, None] - back[None, :]) % column.shape[1]
    return np.ascontiguousarray(column[rows[:, None], slots], np.float64)


def forget(memory: Columns, row: int, first: int, count: int) -> None:
    """Of one instance, `count` minutes from `first` on are unknown; no step spans them."""
    for name in ("power", "level", "rough"):
        size = memory[name].shape[1]
        memory[name][row, (first + np.arange(min(count, size))) % size] = np.nan
    memory["peak"][row], memory["peak_at"][row] = 0.0, NEVER_US


def sum_columns(window: Numbers) -> Numbers:
    """Sums over the second axis in one fixed order, so that no batch changes the last bit."""
    total = window[:, 0].copy()
    for column in range(1, window.shape[1]):
        total += window[:, column]
    return total


def push_level(memory: Columns, rows: Rows, minute: Times, mean: Numbers) -> Numbers:
    """Takes the mean of a minute in; the level then (k,), NaN where too little is known."""
    memory["power"][rows, minute % POWERS] = mean
    window = np.sort(ring(memory["power"], rows, minute, np.arange(WINDOW)), axis=1)  # NaN last
    known = np.count_nonzero(~np.isnan(window), axis=1)
    every = np.arange(len(rows))
    level = window[every, (PERCENTILE * np.maximum(known - 1, 0)).astype(np.int64)]
    middle = window[every, np.maximum(known - 1, 0) // 2]
    level = np.where(known >= ENOUGH, level, np.nan).astype(np.float32)
    memory["level"][rows, minute % LEVELS] = level
    memory["rough"][rows, minute % LEVELS] = middle - level
    return level.astype(np.float64)


def find_steps(memory: Columns, rows: Rows, minute: Times) -> Steps:
    """Compares the level before and after the minute HALF - 1 ago. A step is told when, for HALF
    minutes, none larger of the same sign followed, or one of the other sign did."""
    window = ring(memory["level"], rows, minute, np.arange(2 * HALF))
    after, before = sum_columns(window[:, :HALF]) / HALF, sum_columns(window[:, HALF:]) / HALF
    change = np.nan_to_num(after - before, nan=0.0)
    peak, peak_at = memory["peak"][rows], memory["peak_at"][rows]
    at = minute - (HALF - 1)
    pending = peak != 0
    strong = np.abs(change) > STEP_W
    turned = pending & strong & (np.sign(change) != np.sign(peak))
    told = turned | (pending & (at - peak_at >= HALF))
    higher = strong & (told | ~pending | (np.abs(change) > np.abs(peak)))
    memory["peak"][rows] = np.where(higher, change, np.where(told, 0.0, peak))
    memory["peak_at"][rows] = np.where(higher, at, np.where(told, NEVER_US, peak_at))
    return Steps(np.where(told, peak, 0.0), np.where(told, peak_at, NEVER_US))
