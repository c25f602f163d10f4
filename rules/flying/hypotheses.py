"""Open hypotheses: loads that came on and may be a charger, with other loads compensated."""

from __future__ import annotations

import numpy as np

from ingest.readings import Mask, Numbers, Times
from rules.flying.level import HALF, LEVELS, RISE_LAG, STEP_W, Steps, ring, sum_columns
from rules.kind import NEVER_US, Columns, Rows

OPEN_AT_ONCE = 3
OTHERS = 6  # other loads that came on meanwhile and are still on
SLOTS = 64  # residuals that are kept, one every SLOT_MINUTES: three hours
SLOT_MINUTES = 3
ENDINGS = 4
FREE, OPEN, HIT = np.int8(0), np.int8(1), np.int8(2)

SMALLEST_STEP_W = 36.0
GONE_W, GONE_SHARE, GONE_MINUTES = 12.0, 0.15, 9
LOST_MINUTES = 60  # outside the band of its amplitude and not falling: it is no longer followed
SILENT_MINUTES = 180  # a gap after which nothing that was open is believed any more
BAND = (0.72, 1.45)


def fresh_hypotheses(n: int) -> Columns:
    """(n, OPEN_AT_ONCE) each. Times are minutes of event time: `since` when the load came on,
    `on` when the level showed it. `ended_*` (n, ENDINGS) are loads that were switched off."""
    shape = (n, OPEN_AT_ONCE)
    return {
        "state": np.zeros(shape, np.int8),
        "since": np.full(shape, NEVER_US, np.int64),
        "on": np.full(shape, NEVER_US, np.int64),
        "base": np.zeros(shape),
        "amplitude": np.zeros(shape),
        "other": np.zeros(shape),
        "others": np.zeros((*shape, OTHERS)),
        "rough_before": np.zeros(shape),
        "in_band": np.zeros(shape, np.int64),
        "outside": np.zeros(shape, np.int64),
        "gone": np.zeros(shape, np.int64),
        "residual": np.full((*shape, SLOTS), np.nan, np.float32),
        "score": np.full(shape, -np.inf),
        "taper": np.zeros(shape, np.bool_),
        "ended_w": np.zeros((n, ENDINGS)),
        "ended_at": np.full((n, ENDINGS), NEVER_US, np.int64),
    }


def on_steps(memory: Columns, rows: Rows, minute: Times, steps: Steps, largest_w: float) -> None:
    """Takes steps of the level in: they open, compensate or close hypotheses."""
    rising, falling = steps.size > 0, steps.size < 0
    if falling.any():
        _fall(memory, rows[falling], minute[falling], steps.at[falling], steps.size[falling])
    if rising.any():
        rows, minute = rows[rising], minute[rising]
        size, at = steps.size[rising], steps.at[rising]
        _add_other(memory, rows, size)
        fit = (size >= SMALLEST_STEP_W) & (size <= 1.2 * largest_w)
        if fit.any():
            _open(memory, rows[fit], minute[fit], at[fit], size[fit])


def _add_other(memory: Columns, rows: Rows, size: Numbers) -> None:
    """A load came on: in every open hypothesis it is another load."""
    for h in range(OPEN_AT_ONCE):
        open_ = memory["state"][rows, h] != FREE
        some = rows[open_]
        memory["other"][some, h] += size[open_]
        room = np.argmin(np.abs(memory["others"][some, h]), axis=1)  # the smallest gives way
        memory["others"][some, h, room] = size[open_]


def _open(memory: Columns, rows: Rows, minute: Times, at: Times, size: Numbers) -> None:
    """In a free place, else in that of the least likely one that is no hit; else not at all."""
    state = memory["state"][rows]
    order = np.where(state == FREE, -np.inf, memory["score"][rows])
    rank = np.where(state == HIT, np.inf, np.where(state == FREE, -1e9, np.maximum(order, -1e6)))
    h = np.argmin(rank, axis=1)
    room = state[np.arange(len(rows)), h] != HIT
    rows, h, minute, at, size = rows[room], h[room], minute[room], at[room], size[room]
    age = minute - at
    before = ring_at(memory, "level", rows, minute, age + 4, 20)
    rough = ring_at(memory, "rough", rows, minute, age + 4, 20)
    memory["state"][rows, h] = OPEN
    memory["since"][rows, h] = at - RISE_LAG
    memory["on"][rows, h] = at
    memory["base"][rows, h] = known_median(before)
    memory["amplitude"][rows, h] = size
    memory["rough_before"][rows, h] = known_median(rough)
    for name in ("other", "others", "in_band", "outside", "gone"):
        memory[name][rows, h] = 0
    memory["residual"][rows, h] = np.nan
    memory["score"][rows, h] = -np.inf
    memory["taper"][rows, h] = False


def ring_at(
    memory: Columns, name: str, rows: Rows, minute: Times, ago: Times, count: int
) -> Numbers:
    """(k, count) of a ring by minute, newest first, from `ago` minutes before `minute` on."""
    return ring(memory[name], rows, minute - ago, np.arange(min(count, LEVELS)))


def known_median(window: Numbers) -> Numbers:
    """The lower median of what is known in each row; 0 where nothing is."""
    ordered = np.sort(window, axis=1)
    known = np.count_nonzero(~np.isnan(window), axis=1)
    middle = ordered[np.arange(len(window)), np.maximum(known - 1, 0) // 2]
    return np.where(known > 0, middle, 0.0)


def _fall(memory: Columns, rows: Rows, minute: Times, at: Times, size: Numbers) -> None:
    """A load went off, or a charger tapers: only what fell within 3 min went off."""
    age = minute - at
    around = ring_at(memory, "level", rows, minute, age - 1, 4)
    sharp = around[:, 3] - around[:, 0] >= 0.75 * -size
    before = sum_columns(ring_at(memory, "level", rows, minute, age + 1, HALF)) / HALF
    for h in range(OPEN_AT_ONCE):
        live = sharp & (memory["state"][rows, h] != FREE)
        if live.any():
            _fall_of(memory, rows[live], h, at[live], size[live], before[live])


def _fall_of(
    memory: Columns, rows: Rows, h: int, at: Times, size: Numbers, before: Numbers
) -> None:
    others = memory["others"][rows, h]
    distance = np.where(others > 0, np.abs(others + size[:, None]), np.inf)
    nearest = np.argmin(distance, axis=1)
    every = np.arange(len(rows))
    matched = distance[every, nearest] < np.maximum(18.0, 0.18 * -size)
    now = before - memory["base"][rows, h] - memory["other"][rows, h]
    off = ~matched & ((np.abs(now + size) < np.maximum(20.0, 0.15 * now)) | (-size > 0.55 * now))
    # a fall that the other loads cannot have made is the hypothesis' own: a taper in coarse polls
    own = memory["base"][rows, h] + memory["other"][rows, h] + size < -5.0
    foreign = ~matched & ~off & ~own
    memory["other"][rows, h] += np.where(
        matched, -others[every, nearest], np.where(foreign, size, 0.0)
    )
    memory["others"][rows[matched], h, nearest[matched]] = 0.0
    _end(memory, rows[off], np.full(int(off.sum()), h), at[off], square=True)


def _end(memory: Columns, rows: Rows, h: Rows, minute: Times, *, square: bool) -> None:
    """Closes hypotheses; a load that was switched off is remembered, to know it when it returns."""
    if square:
        place = np.argmin(memory["ended_at"][rows], axis=1)
        memory["ended_w"][rows, place] = memory["amplitude"][rows, h]
        memory["ended_at"][rows, place] = minute
    memory["state"][rows, h] = FREE


def follow(memory: Columns, rows: Rows, minute: Times, level: Numbers) -> None:
    """Carries every open hypothesis of these instances on by one minute."""
    for h in range(OPEN_AT_ONCE):
        live = memory["state"][rows, h] != FREE
        if live.any():
            _follow_one(memory, rows[live], h, minute[live], level[live])


def _follow_one(memory: Columns, rows: Rows, h: int, minute: Times, level: Numbers) -> None:
    residual = level - memory["base"][rows, h] - memory["other"][rows, h]
    mark = minute % SLOT_MINUTES == SLOT_MINUTES - 1
    slot = (minute[mark] // SLOT_MINUTES) % SLOTS
    memory["residual"][rows[mark], h, slot] = residual[mark]
    known = ~np.isnan(level)
    rows, minute, residual = rows[known], minute[known], residual[known]
    amplitude = memory["amplitude"][rows, h]
    band = (residual >= BAND[0] * amplitude) & (residual <= BAND[1] * amplitude)
    memory["in_band"][rows, h] += band
    gone = residual < np.maximum(GONE_W, GONE_SHARE * amplitude)
    memory["gone"][rows, h] = np.where(gone, memory["gone"][rows, h] + 1, 0)
    outside = ~band & ~memory["taper"][rows, h]
    memory["outside"][rows, h] = np.where(outside, memory["outside"][rows, h] + 1, 0)
    over = memory["gone"][rows, h] >= GONE_MINUTES
    over |= memory["outside"][rows, h] >= LOST_MINUTES
    _end(memory, rows[over], np.full(int(over.sum()), h), minute[over], square=False)


def lose(memory: Columns, row: int, first: int, count: int) -> None:
    """Of one instance, `count` minutes from `first` on are unknown; a long gap ends all."""
    minutes = first + np.arange(min(count, SLOTS * SLOT_MINUTES))
    slots = minutes[minutes % SLOT_MINUTES == SLOT_MINUTES - 1] // SLOT_MINUTES % SLOTS
    memory["residual"][row][:, slots] = np.nan
    if count >= SILENT_MINUTES:
        memory["state"][row] = FREE


def residuals(memory: Columns, rows: Rows, h: Rows, minute: Times) -> Numbers:
    """(k, SLOTS) W, newest first, NaN where unknown or from before the step."""
    back = np.arange(SLOTS)
    newest = (minute + 1) // SLOT_MINUTES - 1
    slots = (newest[:, None] - back[None, :]) % SLOTS
    values = memory["residual"][rows[:, None], h[:, None], slots].astype(np.float64)
    age = (newest[:, None] - back[None, :] + 1) * SLOT_MINUTES - 1 - memory["on"][rows, h][:, None]
    return np.where(age >= 0, values, np.nan)


def repeats(memory: Columns, rows: Rows, h: Rows, minute: Times) -> Times:
    """(k,) how many loads of the same size were switched off in the 12 h before this one came."""
    ended_w, ended_at = memory["ended_w"][rows], memory["ended_at"][rows]
    amplitude = memory["amplitude"][rows, h][:, None]
    recent = (ended_at != NEVER_US) & (minute[:, None] - np.maximum(ended_at, 0) <= 720)
    alike: Mask = np.abs(ended_w - amplitude) <= np.maximum(0.12 * amplitude, STEP_W / 2)
    return np.asarray(np.count_nonzero(recent & alike, axis=1), np.int64)
