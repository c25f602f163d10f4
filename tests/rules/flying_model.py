"""A slow, obvious model of the flying-wire kind: one circuit, plain Python, no rings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from rules.flying import score

NAN = float("nan")


def f32(value: float) -> float:
    return float(np.float32(value))


def lower_median(values: list[float]) -> float:
    known = sorted(v for v in values if not math.isnan(v))
    return known[(len(known) - 1) // 2] if known else 0.0


def total(values: list[float]) -> float:
    result = values[0]
    for value in values[1:]:
        result += value
    return result


@dataclass
class Load:
    on: int
    base: float
    amplitude: float
    scatter_before: float
    state: int = 1
    other: float = 0.0
    others: list[float] = field(default_factory=lambda: [0.0] * 6)
    in_band: int = 0
    outside: int = 0
    gone: int = 0
    residual: dict[int, float] = field(default_factory=dict)
    score: float = -math.inf
    taper: bool = False

    @property
    def since(self) -> int:
        return self.on - 25


@dataclass
class Circuit:
    """Fed with one mean a minute (or told of a gap); `loads` has three places."""

    decision_minutes: float = 50.0
    min_w: float = 68.0
    max_w: float = 520.0
    threshold: float = 0.4
    power: dict[int, float] = field(default_factory=dict)
    level: dict[int, float] = field(default_factory=dict)
    rough: dict[int, float] = field(default_factory=dict)
    peak: float = 0.0
    peak_at: int = 0
    loads: list[Load | None] = field(default_factory=lambda: [None] * 3)
    ended: list[tuple[int, float]] = field(default_factory=list)

    def gap(self, count: int) -> None:
        self.peak = 0.0
        if count >= 180:
            self.loads = [None] * 3

    def minute(self, m: int, mean: float) -> None:
        self.power[m] = f32(mean)
        self._level(m)
        step = self._step(m)
        if step is not None:
            size, at = step
            if size > 0:
                self._rise(size, at)
            else:
                self._fall(size, at)
        for place in range(3):
            self._follow(place, m)
        if m % 3 == 2:
            for load in self.loads:
                if load is not None:
                    self._score(load, m)

    @property
    def hit(self) -> bool:
        return any(load is not None and load.state == 2 for load in self.loads)

    def _level(self, m: int) -> None:
        window = sorted(self.power[k] for k in range(m - 30, m + 1) if k in self.power)
        low = window[int(0.2 * (len(window) - 1))]
        middle = window[(len(window) - 1) // 2]
        known = len(window) >= 16
        self.level[m] = f32(low) if known else NAN
        self.rough[m] = f32(middle - f32(low)) if known else NAN

    def _levels(self, newest: int, count: int) -> list[float]:
        return [self.level.get(newest - k, NAN) for k in range(count)]

    def _step(self, m: int) -> tuple[float, int] | None:
        change = total(self._levels(m, 6)) / 6 - total(self._levels(m - 6, 6)) / 6
        if math.isnan(change):
            change = 0.0
        at, strong, told = m - 5, abs(change) > 16.0, None
        turned = strong and self.peak != 0 and (change > 0) != (self.peak > 0)
        if self.peak != 0 and (turned or at - self.peak_at >= 6):
            told = (self.peak, self.peak_at)
            self.peak = 0.0
        if strong and (self.peak == 0 or abs(change) > abs(self.peak)):
            self.peak, self.peak_at = change, at
        return told

    def _rise(self, size: float, at: int) -> None:
        for load in self.loads:
            if load is not None:
                load.other += size
                smallest = min(range(6), key=[abs(w) for w in load.others].__getitem__)
                load.others[smallest] = size
        if not 36.0 <= size <= 1.2 * self.max_w:
            return
        free = [k for k in range(3) if self.loads[k] is None]
        if free:
            place = free[0]
        else:
            order = []
            for k, load in enumerate(self.loads):
                if load is not None and load.state != 2:
                    order.append((max(load.score, -1e6), k))
            if not order:
                return
            place = min(order)[1]
        rough = [self.rough.get(at - 4 - k, NAN) for k in range(20)]
        base = lower_median(self._levels(at - 4, 20))
        self.loads[place] = Load(at, base, size, lower_median(rough))

    def _fall(self, size: float, at: int) -> None:
        around = self._levels(at + 1, 4)
        if not around[3] - around[0] >= 0.75 * -size:
            return
        before = total(self._levels(at - 1, 6)) / 6
        for place, load in enumerate(self.loads):
            if load is None:
                continue
            now = before - load.base - load.other
            far = [abs(other + size) if other > 0 else math.inf for other in load.others]
            nearest = far.index(min(far))
            if far[nearest] < max(18.0, 0.18 * -size):
                load.other -= load.others[nearest]
                load.others[nearest] = 0.0
            elif abs(now + size) < max(20.0, 0.15 * now) or -size > 0.55 * now:
                self.ended = sorted([*self.ended, (at, load.amplitude)])[-4:]
                self.loads[place] = None
            elif not load.base + load.other + size < -5.0:
                load.other += size

    def _follow(self, place: int, m: int) -> None:
        load = self.loads[place]
        if load is None:
            return
        residual = self.level[m] - load.base - load.other
        if m % 3 == 2:
            load.residual[m // 3] = f32(residual)
        if math.isnan(residual):
            return
        band = 0.72 * load.amplitude <= residual <= 1.45 * load.amplitude
        load.in_band += band
        load.gone = load.gone + 1 if residual < max(12.0, 0.15 * load.amplitude) else 0
        load.outside = load.outside + 1 if not band and not load.taper else 0
        if load.gone >= 9 or load.outside >= 60:
            self.loads[place] = None

    def _score(self, load: Load, m: int) -> None:
        newest = (m + 1) // 3 - 1
        slots = [k for k in range(newest, newest - 64, -1) if k * 3 + 2 >= load.on]
        settled = slots[: max((m + 1) // 3 - (load.on + 3) // 3 - 2 + 1, 0)]
        course = [load.residual.get(k, NAN) for k in settled]
        middle = lower_median(course)
        if m - load.on <= 45 and middle > 0:
            load.amplitude = middle
        share = [value / load.amplitude for value in course] + [NAN] * (64 - len(course))
        knee = next((k for k, value in enumerate(share) if value >= 0.9), 0)
        plateau = [k for k in range(knee, 64) if 0.72 <= share[k] <= 1.45]
        slope, ripple = _line(plateau, share)
        falls = [share[k + 1] - share[k] for k in range(knee) if k < 63]
        falls = [0.0 if math.isnan(value) else value for value in falls]
        fall = 0.0 if math.isnan(share[0]) else min(max(1.0 - share[0], 0.0), 1.0)
        jump, rise = max([0.0, *falls]), max([0.0, *(-value for value in falls)])
        taper = fall > 0.3 and knee * 3 >= 18 and jump < 0.22 and rise < 0.08 and load.in_band >= 12
        alike = max(0.12 * load.amplitude, 8.0)
        repeats = sum(
            load.since - at <= 720 and abs(watts - load.amplitude) <= alike
            for at, watts in self.ended
        )
        odds = score.BIAS
        for name, value in (
            ("amplitude", load.amplitude),
            ("plateau", load.in_band),
            ("ripple", 0.02 if math.isnan(ripple) else ripple),
            ("slope", 0.0 if math.isnan(slope) else slope),
            ("scatter", load.scatter_before / load.amplitude),
            ("fall", fall),
            ("jump", jump),
            ("rise", rise),
            ("repeats", repeats),
            ("taper", taper),
        ):
            odds += float(np.interp(value, score.KNOTS[name], score.POINTS[name]))
        load.score = odds
        load.taper |= taper
        old = m - load.since >= self.decision_minutes
        fit = self.min_w <= load.amplitude <= self.max_w and load.in_band >= 12
        if old and fit and odds >= math.log(self.threshold / (1 - self.threshold)):
            load.state = 2


def _line(plateau: list[int], share: list[float]) -> tuple[float, float]:
    n = len(plateau)
    if n < 4:
        return NAN, NAN
    x = [-k * (3 / 60.0) for k in plateau]
    y = [share[k] for k in plateau]
    sx, sy = total(x), total(y)
    sxx = total([a * a for a in x])
    sxy = total([a * b for a, b in zip(x, y, strict=True)])
    syy = total([b * b for b in y])
    slope = (sxy - sx * sy / n) / (sxx - sx * sx / n)
    left = max(syy - sy * sy / n - slope * (sxy - sx * sy / n), 0.0)
    return slope, math.sqrt(left / (n - 2.0))
