"""Single loads behind a plug: recorded charges must alarm, appliances and a vacuum must not."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.clock import parse_us
from ingest.readings import Numbers
from rules.flying.minutes import US_PER_MINUTE
from rules.rule import Rulebook
from rules.rulebook import shipped_rulebook
from rules.scoring.alerts import by_device, read_alerts
from rules.scoring.composed import LEVELS, meter, noisy
from rules.scoring.found import FIGURES, Outcome, Unit, false_row, found_row, grouped, outcomes
from rules.scoring.loads import DAY_MINUTES, idle_plugs_w, read_charges, read_loads
from rules.scoring.readings import Run
from rules.scoring.table import Cell, Table
from rules.scoring.through import run_rules

RULE = "flying_wire_meter"
STARTS = 4
PACES_MIN = (1, 5, 10)
MIDNIGHT_US = parse_us("2026-01-05T00:00:00Z")


@dataclass(frozen=True, slots=True)
class Plug:
    """A plug's days: W a minute from MIDNIGHT_US on, NaN where it said nothing."""

    unit: Unit
    power_w: Numbers


def single_loads(data: Path, seed: int) -> Iterator[Plug]:
    """Each charge at each level on an idle day, at four starts and read each 1, 5 and 10 minutes;
    every day of an appliance; the vacuum. All with the same meter noise."""
    rng = np.random.default_rng([seed, 77])
    yield from _charges(data, rng)
    for number, load in enumerate(read_loads(data)):
        group = "battery, no e-bike" if load.battery else "appliance"
        unit = Unit(f"load-{number:02d}", (group, load.cls, ""), group, float(load.days))
        yield Plug(unit, meter(rng, load.power_w))
    idle = np.zeros(DAY_MINUTES)
    vacuum = _vacuum(data)
    idle[600 : 600 + len(vacuum)] = vacuum
    unit = Unit("vacuum", ("robot vacuum", "", ""), "robot vacuum", 1.0)
    yield Plug(unit, meter(rng, idle))


def plug_readings(plugs: Iterable[Plug]) -> Iterator[Run]:
    """What these plugs say, for `rules.scoring.readings.write_readings`."""
    for plug in plugs:
        time_us = MIDNIGHT_US + np.arange(len(plug.power_w), dtype=np.int64) * US_PER_MINUTE
        yield plug.unit.device, "main", "power.active", time_us, plug.power_w


def _charges(data: Path, rng: np.random.Generator) -> Iterator[Plug]:
    for charge in read_charges(data):
        for level in LEVELS:
            for start in range(STARTS):
                plug_in = int(rng.integers(60, DAY_MINUTES - len(charge.power_w) - 60))
                day = np.full(DAY_MINUTES, idle_plugs_w()[int(rng.integers(3))])
                day[plug_in : plug_in + len(charge.power_w)] += noisy(rng, charge, level)
                power = meter(rng, day)
                at_us = [
                    MIDNIGHT_US + minute * US_PER_MINUTE
                    for minute in (plug_in, plug_in + len(charge.power_w) - 1)
                ]
                for pace in PACES_MIN:
                    name = f"{charge.plug}-x{level:g}-{start}-{pace}min"
                    group = (charge.kind, f"read each {pace} min", f"x{level:g}")
                    unit = Unit(name, group, "idle plug, outside the charge", 1.0, *at_us)
                    read = np.where(np.arange(DAY_MINUTES) % pace == 0, power, np.nan)
                    yield Plug(unit, read)


def _vacuum(data: Path) -> Numbers:
    path = data / "robot_vacuum_taper" / "rockrobo.vacuum.v1_tapering.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [(float(second), float(power)) for second, power in csv.reader(lines)]
    seconds, power = np.array(rows).T
    return np.asarray(np.interp(np.arange(0, seconds[-1], 60), seconds, power), np.float64)


def score_single_loads(
    data: Path,
    *,
    seed: int = 1,
    predictions: Path | None = None,
    alerts: Path | None = None,
    rulebook: Rulebook | None = None,
) -> Table:
    """Alerts of rule RULE (of the shipped rulebook unless another is given), or of a file that a
    replay of the same plugs wrote."""
    if predictions is not None:
        raise ValueError("ebike_smartplug is scored by alerts, not row by row: give --alerts")
    plugs = list(single_loads(data, seed))
    if alerts is None:
        shown = plug_readings(plugs)
        found = run_rules(rulebook or shipped_rulebook(), "circuit_meter", shown, (RULE,))
    else:
        found = read_alerts(alerts, (RULE,))
    results = outcomes([plug.unit for plug in plugs], by_device(found))
    return Table(
        title=f"ebike_smartplug, tracebase_subset, robot_vacuum_taper, seed {seed}",
        columns=("kind", "what", "level", *FIGURES),
        rows=tuple(_rows(results)),
        notes=(
            "found: an alert from plug-in to 30 min after the end. Three charges of one household.",
            "tracebase days were picked so that look-alikes are over-represented.",
        ),
    )


def _rows(results: Sequence[Outcome]) -> list[tuple[Cell, ...]]:
    charged = [result for result in results if result.unit.plug_in_us is not None]
    rows = [found_row(group, part) for group, part in sorted(grouped(charged).items())]
    rows.append(false_row(("idle plug", "false: outside the charge", ""), charged))
    others = [result for result in results if result.unit.plug_in_us is None]
    by_group = sorted(grouped(others).items())
    rows += [false_row(group, part) for group, part in by_group if sum(r.false for r in part)]
    for cls in sorted({result.unit.cls for result in others}):
        part = [result for result in others if result.unit.cls == cls]
        rows.append(false_row((cls, "false: every day", ""), part))
    return rows


EVALUATE = score_single_loads
