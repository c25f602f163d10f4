"""Which alerts found a charge, which are false, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rules.flying.minutes import US_PER_MINUTE
from rules.scoring.alerts import Alert
from rules.scoring.table import Cell

AFTER_MINUTES = 30  # an alert up to here after a charge's end still counts as found


@dataclass(frozen=True, slots=True)
class Unit:
    """A device-day or circuit-day to be scored: what was charged there, from when to when (µs,
    None: nothing), the `group` it is reported in, and the class of its false alarms."""

    device: str
    group: tuple[str, ...]
    cls: str
    days: float
    plug_in_us: int | None = None
    end_us: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`delay_min` from plug-in to the first alert, None: not found; `false` alerts otherwise."""

    unit: Unit
    delay_min: float | None
    false: int


def outcomes(units: Sequence[Unit], alerts: Mapping[str, Sequence[Alert]]) -> list[Outcome]:
    """One for each unit, in their order; `alerts` of each device by start."""
    return [_outcome(unit, alerts.get(unit.device, ())) for unit in units]


def _outcome(unit: Unit, alerts: Sequence[Alert]) -> Outcome:
    if unit.plug_in_us is None or unit.end_us is None:
        return Outcome(unit, None, len(alerts))
    until_us = unit.end_us + AFTER_MINUTES * US_PER_MINUTE
    hits = [alert for alert in alerts if unit.plug_in_us <= alert.started_us <= until_us]
    delay = (hits[0].started_us - unit.plug_in_us) / US_PER_MINUTE if hits else None
    return Outcome(unit, delay, len(alerts) - len(hits))


def found_row(label: Sequence[str], results: Sequence[Outcome]) -> tuple[Cell, ...]:
    """Label, charges, found, median and 90th percentile of the delay."""
    delays = [result.delay_min for result in results if result.delay_min is not None]
    middle = float(np.median(delays)) if delays else None
    late = float(np.percentile(delays, 90)) if delays else None
    return (*label, len(results), len(delays), middle, late, None, None, None)


def false_row(label: Sequence[str], results: Sequence[Outcome]) -> tuple[Cell, ...]:
    """Label, days, false alerts, and those per 100 days."""
    days = sum(result.unit.days for result in results)
    false = sum(result.false for result in results)
    return (*label, None, None, None, None, round(days, 2), false, 100.0 * false / days)


FIGURES = ("charges", "found", "delay_p50_min", "delay_p90_min", "days", "false", "per_100_days")


def grouped(results: Sequence[Outcome]) -> dict[tuple[str, ...], list[Outcome]]:
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for result in results:
        groups.setdefault(result.unit.group, []).append(result)
    return groups
