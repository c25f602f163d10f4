"""Power series and scopes for the tests of the flying-wire kind."""

from __future__ import annotations

import numpy as np

from ingest.readings import Numbers, Times
from rules.kind import Columns, Rows, Scope, Verdicts
from rules.kinds.flying_wire import FlyingWire

MINUTE_US = 60_000_000
START_US = 29_000_001 * MINUTE_US  # a minute that is no multiple of 3


def scope(
    value: Numbers, time_us: Times, seen: dict[str, Times] | None = None, now_us: int | None = None
) -> Scope:
    """`value` (k,) read at `time_us` (k,)."""
    now = time_us if now_us is None else np.full(len(value), now_us, np.int64)
    return Scope(
        value=value[:, None],
        time_us=time_us[:, None],
        fresh=~np.isnan(value)[:, None],
        heard_us=now,
        known_us=now,
        now_us=now,
        parameters={},
        seen_since_us=seen or {},
    )


def feed(rule: FlyingWire, memory: Columns, rows: Rows, minute: int, value: Numbers) -> Verdicts:
    """One reading a row at the start of a minute after START_US."""
    times = np.full(len(rows), START_US + minute * MINUTE_US, np.int64)
    return rule.observe(memory, rows, scope(value, times))


def watch(rule: FlyingWire, power: Numbers) -> tuple[Columns, list[Verdicts]]:
    """(n, minutes) W, one reading a minute: the memory at the end, the verdicts by minute."""
    n, length = power.shape
    memory, rows = rule.fresh_columns(n), np.arange(n)
    return memory, [feed(rule, memory, rows, m, power[:, m]) for m in range(length)]


def charge(minutes: int, watts: float = 150.0, plateau: int = 120, tau: float = 35.0) -> Numbers:
    """A charger for `minutes`: a plateau that rises by 3 % an hour, then an exponential fall."""
    at = np.arange(minutes)
    rising = watts * (1 + 0.03 * np.minimum(at, plateau) / 60)
    return np.asarray(np.where(at < plateau, rising, rising * np.exp(-(at - plateau) / tau)))


def noisy(power: Numbers, seed: int = 1) -> Numbers:
    rng = np.random.default_rng(seed)
    return np.maximum(power + rng.normal(0, 1.0, power.shape), 0.0)
