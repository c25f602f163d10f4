"""Composed circuit-days: a recorded background, and in half of them one recorded charge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from ingest.readings import Numbers
from rules.scoring.loads import (
    DAY_MINUTES,
    Charge,
    Load,
    read_charges,
    read_household,
    read_loads,
)

LEVELS = (1.0, 2.0, 3.5)
CHARGE_NOISE = 0.01  # of the charge's power, normal
METER_JITTER_W = 1.5  # on everything, normal
Background = Literal["house", "sockets_lights", "appliances"]
BACKGROUNDS: tuple[Background, ...] = ("house", "sockets_lights", "appliances")


@dataclass(frozen=True, slots=True)
class Circuit:
    """One circuit-day: W at minutes 0 … 1439 and what is behind it. `kind` is the charge's, or
    `laptop` or `none`; plug-in and end are minutes of the day, -1 where there is no charge."""

    name: str
    background: str
    kind: str
    level: float
    plug_in: int
    end: int
    power_w: Numbers
    parts: tuple[str, ...]

    @property
    def charged(self) -> bool:
        return self.plug_in >= 0


Part = Literal["all", "tune", "report"]
"""Which recordings serve as background: all, or every second day and load for tuning and the
others for the report, so that nothing is reported on what it was tuned on."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What circuit-days are made of. `charges` None: the recorded ones."""

    data: Path
    seed: int
    part: Part = "all"
    charges: tuple[Charge, ...] | None = None
    levels: tuple[float, ...] = LEVELS


def composed_circuits(
    recipe: Recipe, days: int, backgrounds: tuple[Background, ...] = BACKGROUNDS
) -> Iterator[Circuit]:
    """`days` circuit-days of each background: half with a charge, a fifth with a laptop's day,
    the rest with neither. The same data and recipe give the same days."""
    for background in backgrounds:
        for day in range(days):
            seed = [recipe.seed, BACKGROUNDS.index(background), day]
            yield _compose(recipe, np.random.default_rng(seed), background, day)


def _compose(recipe: Recipe, rng: np.random.Generator, background: Background, day: int) -> Circuit:
    power_w, parts = _background(recipe, rng, background)
    kind, level, plug_in, end = "none", 0.0, -1, -1
    turn = day % 10
    if turn < 5:
        charges = recipe.charges or read_charges(recipe.data)
        charge = charges[int(rng.integers(len(charges)))]
        kind, level = charge.kind, recipe.levels[int(rng.integers(len(recipe.levels)))]
        plug_in = int(rng.integers(30, DAY_MINUTES - len(charge.power_w) - 30))
        end = plug_in + len(charge.power_w) - 1
        power_w[plug_in : end + 1] += noisy(rng, charge, level)
    elif turn < 7:
        kind = "laptop"
        laptops = _laptops(recipe.data)
        laptop = laptops[int(rng.integers(len(laptops)))]
        parts = (*parts, laptop.path)
        power_w += _day(laptop)
    name = f"{background}-{recipe.seed}-{day:03d}"
    metered = meter(rng, power_w)
    return Circuit(name, background, kind, level, plug_in, end, metered, parts)


def noisy(rng: np.random.Generator, charge: Charge, level: float) -> Numbers:
    """A charge at `level` times its power, with its own noise."""
    scaled = charge.power_w * level
    return np.asarray(scaled * rng.normal(1.0, CHARGE_NOISE, len(scaled)), np.float64)


def meter(rng: np.random.Generator, power_w: Numbers) -> Numbers:
    """What a meter says of `power_w`: jittered, never negative."""
    return np.maximum(power_w + rng.normal(0.0, METER_JITTER_W, len(power_w)), 0.0)


def _background(
    recipe: Recipe, rng: np.random.Generator, background: Background
) -> tuple[Numbers, tuple[str, ...]]:
    if background != "appliances":
        recorded = read_household(recipe.data)[background]
        chosen = _part(range(len(recorded)), recipe.part)
        day = chosen[int(rng.integers(len(chosen)))]
        return recorded[day].copy(), (f"{background}:{day + 1}",)
    loads = _part([load for load in read_loads(recipe.data) if not load.battery], recipe.part)
    picked = rng.choice(len(loads), int(rng.integers(3, 9)), replace=False)
    total = np.zeros(DAY_MINUTES)
    for index in picked:
        total += _day(loads[int(index)])
    return total, tuple(loads[int(index)].path for index in picked)


T = TypeVar("T")


def _part(entries: Sequence[T], part: Part) -> Sequence[T]:
    return {"all": entries, "tune": entries[::2], "report": entries[1::2]}[part]


def _laptops(data: Path) -> list[Load]:
    return [
        load
        for load in read_loads(data)
        if load.battery and load.cls in {"PC-Laptop", "MacBookPro_13in"}
    ]


def _day(load: Load) -> Numbers:
    """The first day of a load; minutes that nobody recorded count as 0 W."""
    return np.nan_to_num(load.power_w[:DAY_MINUTES], nan=0.0)
