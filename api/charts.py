"""Charts as SVG, drawn here: trends, small curves, the plan of the buildings. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from markupsafe import Markup, escape

from api.views import number_shown
from ingest.registry import Building
from ingest.store import Buckets

DAY_S = 86_400
TICK_STEPS_S = (60, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600, 43_200, DAY_S)

SHAPES = {
    "urgent": '<path d="M7 1h6l5 5v8l-5 5H7l-5-5V6z"/><path class="in" d="M10 5v6M10 14v.5"/>',
    "serious": '<path d="M10 1.5 19 18H1z"/><path class="in" d="M10 7v5M10 15v.5"/>',
    "warning": '<path d="M10 1l9 9-9 9-9-9z"/><path class="in" d="M10 5.5v5.5M10 14v.5"/>',
    "info": '<circle cx="10" cy="10" r="8.5"/><path class="in" d="M10 9v5.5M10 5.5V6"/>',
    "ok": '<circle cx="10" cy="10" r="8.5"/><path class="in" d="M6 10.2l2.8 2.8L14 7.5"/>',
    "silent": '<circle cx="10" cy="10" r="8.5"/><path class="in" d="M5.8 10h8.4"/>',
}
"""A state has a shape of its own: colour alone says nothing to one in twelve men."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a drawing, in px; `name` is the class by which the style sheet shows one of them."""

    name: str
    width: int
    height: int


NARROW = Size("narrow", 358, 220)
WIDE = Size("wide", 860, 260)
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 26, 24

PLAN_WIDTH, ROW = 360, 56


@dataclass(frozen=True, slots=True)
class Line:
    """A level to be drawn across, in the unit of the chart. `kind`: a severity, or `reference`."""

    value: float
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An alert, from `start_us` to `end_us` (None: it goes on)."""

    start_us: int
    end_us: int | None
    severity: str
    label: str
    href: str


@dataclass(frozen=True, slots=True)
class Tile:
    """A building on the plan. `short` is what is written into it, `label` what is read out."""

    building: Building
    href: str
    short: str
    label: str
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a time and a value are in a drawing."""

    size: Size
    since_us: int
    until_us: int
    low: float
    high: float

    def x(self, time_us: float) -> float:
        share = (time_us - self.since_us) / max(1, self.until_us - self.since_us)
        return LEFT + min(1.0, max(0.0, share)) * (self.size.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.size.height - BOTTOM - share * (self.size.height - TOP - BOTTOM)


def icon(state: str) -> Markup:
    """The shape of a state or severity; what it means stands beside it as text."""
    shape = SHAPES.get(state, SHAPES["silent"])
    return Markup(
        f'<svg class="icon s-{state if state in SHAPES else "silent"}" viewBox="0 0 20 20" '
        f'width="20" height="20" aria-hidden="true" focusable="false">{shape}</svg>'
    )


def trend(
    buckets: Buckets,
    since_us: int,
    until_us: int,
    *,
    size: Size,
    zone: ZoneInfo,
    unit: str,
    label: str,
    gap_us: int,
    lines: Sequence[Line] = (),
    marks: Sequence[Mark] = (),
) -> Markup:
    """A line of means with the band from min to max behind it; a gap of more than `gap_us`
    stays open. Levels far outside what was measured are left out, so that it stays legible."""
    kept = buckets.count > 0
    low, high, lines = _range(buckets, kept, lines)
    ticks = nice_ticks(low, high, 4)
    frame = _Frame(size, since_us, until_us, min(low, ticks[0]), max(high, ticks[-1]))
    parts = [
        *(_mark(frame, mark) for mark in marks),
        *(_value_tick(frame, tick) for tick in ticks),
        *_time_ticks(frame, zone),
        *_curve(frame, buckets, kept, gap_us),
        *(_level(frame, line) for line in lines),
        f'<text class="unit y" x="{LEFT - 6}" y="11">{escape(unit)}</text>',
    ]
    return _drawing("trend", size, label, parts)


def spark(values: Sequence[float], label: str) -> Markup:
    """A small curve of numbers in equal steps, for evidence."""
    column = np.asarray(values, np.float64)
    n = len(column)
    steps = np.arange(n, dtype=np.int64)
    buckets = Buckets(steps, column, column, column, np.isfinite(column).astype(np.int64))
    low, high, _ = _range(buckets, buckets.count > 0, ())
    size = Size("spark", 340, 120)
    ticks = nice_ticks(low, high, 2)
    frame = _Frame(size, 0, max(1, n - 1), min(low, ticks[0]), max(high, ticks[-1]))
    parts = [
        *(_value_tick(frame, tick) for tick in ticks),
        *_curve(frame, buckets, buckets.count > 0, 2),
    ]
    return _drawing("trend", size, label, parts)


def nice_ticks(low: float, high: float, n: int) -> list[float]:
    """About `n` round numbers whose first is <= low and whose last is >= high."""
    span = high - low
    rough = span / max(1, n)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1.0, 2.0, 2.5, 5.0, 10.0) if power * k >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def plan(tiles: Sequence[Tile], label: str) -> Markup:
    """The buildings as they stand to each other, north up, not to scale: each one is a link and
    big enough for a thumb on a phone of 390 px."""
    places = grid({tile.building.id: tile.building.at for tile in tiles})
    columns = 1 + max((column for column, _ in places.values()), default=0)
    rows = 1 + max((row for _, row in places.values()), default=0)
    pitch = PLAN_WIDTH / max(columns, 4)
    parts = [_tile(tile, *places[tile.building.id], pitch) for tile in tiles]
    return Markup(
        f'<svg class="plan-drawing" viewBox="0 0 {columns * pitch:.0f} {rows * ROW}" '
        f'role="group" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def grid(places: dict[str, tuple[float, float]]) -> dict[str, tuple[int, int]]:
    """(column, row) of each place: by rank of its coordinates, where they form at most seven
    columns without two in one cell; else in rows of six, north to south and west to east."""
    east = sorted({round(x) for x, _ in places.values()})
    north = sorted({round(y) for _, y in places.values()}, reverse=True)
    ranked = {k: (east.index(round(x)), north.index(round(y))) for k, (x, y) in places.items()}
    if len(east) <= 7 and len(set(ranked.values())) == len(places):
        return ranked
    order = sorted(places, key=lambda k: -places[k][1])
    rows = [order[i : i + 6] for i in range(0, len(order), 6)]
    return {
        k: (column, row)
        for row, members in enumerate(rows)
        for column, k in enumerate(sorted(members, key=lambda k: places[k][0]))
    }


def short_name(name: str, fallback: str) -> str:
    """The number in a building's name, else its id cut to what fits."""
    found = re.search(r"\d+", name)
    return found[0] if found else fallback[:5]


def _tile(tile: Tile, column: int, row: int, pitch: float) -> str:
    x, y, width = column * pitch + 3, row * ROW + 3, pitch - 6
    shape = SHAPES.get(tile.state, SHAPES["silent"])
    left = width / 2 - (19 if tile.count else 10)
    count = f'<text class="n" x="{left + 24:.1f}" y="41">{tile.count}</text>' if tile.count else ""
    return (
        f'<a id="plan-{escape(tile.building.id)}" href="{escape(tile.href)}" '
        f'aria-label="{escape(tile.label)}"><g class="tile s-{tile.state}" '
        f'transform="translate({x:.1f} {y})"><rect width="{width:.1f}" height="{ROW - 6}" rx="8"/>'
        f'<text class="name" x="{width / 2:.1f}" y="18">{escape(tile.short)}</text>'
        f'<svg class="icon s-{tile.state}" x="{left:.1f}" y="26" width="20" height="20" '
        f'viewBox="0 0 20 20">{shape}</svg>{count}<title>{escape(tile.label)}</title></g></a>'
    )


def _range(
    buckets: Buckets, kept: np.ndarray[tuple[int], np.dtype[np.bool_]], lines: Sequence[Line]
) -> tuple[float, float, list[Line]]:
    """What the value axis must show, and the levels that fit on it."""
    if not kept.any():
        shown = [line.value for line in lines] or [0.0, 1.0]
        low, high = min(shown), max(shown)
        return (*_widened(low, high), list(lines))
    low, high = float(np.nanmin(buckets.low[kept])), float(np.nanmax(buckets.high[kept]))
    reach = max((high - low) * 0.8, abs(high) * 0.1, 1e-9)
    fitting = [line for line in lines if low - reach <= line.value <= high + reach]
    values = [low, high, *(line.value for line in fitting)]
    return (*_widened(min(values), max(values)), fitting)


def _widened(low: float, high: float) -> tuple[float, float]:
    if high - low < 1e-9:
        room = abs(high) * 0.1 or 1.0
        return low - room, high + room
    return low, high


def _curve(
    frame: _Frame,
    buckets: Buckets,
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]],
    gap_us: int,
) -> list[str]:
    times = buckets.start_us[kept].astype(np.float64)
    if not len(times):
        return []
    breaks = np.flatnonzero(np.diff(times) > gap_us) + 1
    mean, low, high = buckets.mean[kept], buckets.low[kept], buckets.high[kept]
    band, line = [], []
    for rows in np.split(np.arange(len(times)), breaks):
        x = [frame.x(t) for t in times[rows]]
        upper = [f"{a:.1f} {frame.y(v):.1f}" for a, v in zip(x, high[rows], strict=True)]
        lower = [f"{a:.1f} {frame.y(v):.1f}" for a, v in zip(x, low[rows], strict=True)]
        middle = [f"{a:.1f} {frame.y(v):.1f}" for a, v in zip(x, mean[rows], strict=True)]
        band.append("M" + "L".join([*upper, *reversed(lower)]) + "Z")
        line.append("M" + "L".join(middle) + ("h.1" if len(rows) == 1 else ""))
    return [
        f'<path class="band" d="{"".join(band)}"/>',
        f'<path class="line" d="{"".join(line)}"/>',
    ]


def _value_tick(frame: _Frame, value: float) -> str:
    y = frame.y(value)
    return (
        f'<path class="grid" d="M{LEFT} {y:.1f}H{frame.size.width - RIGHT}"/>'
        f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{number_shown(value)}</text>'
    )


def _time_ticks(frame: _Frame, zone: ZoneInfo) -> list[str]:
    """At round local times, as many as there is room for."""
    room = max(2, (frame.size.width - LEFT - RIGHT) // 64)
    span_s = (frame.until_us - frame.since_us) / 1e6
    step_s = next((s for s in TICK_STEPS_S if span_s / s <= room), None)
    step_s = step_s or DAY_S * math.ceil(span_s / DAY_S / room)
    begin = datetime.fromtimestamp(frame.since_us / 1e6, UTC).astimezone(zone)
    offset = begin.utcoffset()
    offset_s = int(offset.total_seconds()) if offset else 0
    first = math.ceil((frame.since_us / 1e6 + offset_s) / step_s) * step_s - offset_s
    return [
        _time_tick(frame, t, zone, step_s)
        for t in range(first, int(frame.until_us / 1e6) + 1, step_s)
    ]


def _time_tick(frame: _Frame, time_s: int, zone: ZoneInfo, step_s: int) -> str:
    x, foot = frame.x(time_s * 1e6), frame.size.height - BOTTOM
    local = datetime.fromtimestamp(time_s, UTC).astimezone(zone)
    midnight = local.hour == 0 and local.minute == 0
    text = f"{local:%m-%d}" if step_s >= DAY_S or midnight else f"{local:%H:%M}"
    return (
        f'<path class="tick" d="M{x:.1f} {foot}v5"/>'
        f'<text class="x" x="{min(x, frame.size.width - 18):.1f}" y="{foot + 18}">{text}</text>'
    )


def _level(frame: _Frame, line: Line) -> str:
    y = frame.y(line.value)
    above = y - 4 if y > TOP + 12 else y + 12
    return (
        f'<g class="m-{line.kind}"><path class="level" d="M{LEFT} {y:.1f}'
        f'H{frame.size.width - RIGHT}"/><text class="level" x="{frame.size.width - RIGHT - 2}" '
        f'y="{above:.1f}">{escape(line.label)}</text></g>'
    )


def _mark(frame: _Frame, mark: Mark) -> str:
    left = frame.x(mark.start_us)
    right = frame.x(frame.until_us if mark.end_us is None else mark.end_us)
    foot = frame.size.height - BOTTOM
    return (
        f'<a class="m-{mark.severity}" href="{escape(mark.href)}" '
        f'aria-label="{escape(mark.label)}">'
        f'<rect class="mark" x="{left:.1f}" y="{TOP}" width="{max(1.5, right - left):.1f}" '
        f'height="{foot - TOP}"/><path class="flag" d="M{left:.1f} {TOP}l-5-9h10z"/>'
        f"<title>{escape(mark.label)}</title></a>"
    )


def _drawing(kind: str, size: Size, label: str, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg class="{kind} {size.name}" viewBox="0 0 {size.width} {size.height}" '
        f'role="group" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
