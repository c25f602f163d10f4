"""How the points of `rules.flying.score` were found; prints them. Not part of the service."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.readings import Mask, Numbers, Times
from rules.flying.features import Features, look
from rules.flying.hypotheses import FREE
from rules.flying.score import KNOTS, LEAST_PLATEAU, columns
from rules.kind import Rows
from rules.kinds.flying_wire import FlyingWire
from rules.scoring.composed import Circuit, Recipe, composed_circuits
from rules.scoring.loads import DAY_MINUTES, Charge

SEEDS = range(11, 19)
DAYS = 60
RIDGE = 2.0
WEIGHT = 3.0  # of a hypothesis, spread over its looks
ONSET_MINUTES = 12

# start W, end W, hours of constant current, share, lead-acid: what these packs draw at the mains;
# the last one is wider than the recorded 48 V 2 A lithium chargers
PACKS = (
    (99, 121, 4.0, 0.16, True),
    (170, 205, 5.0, 0.26, True),
    (193, 232, 4.6, 0.14, True),
    (259, 314, 5.0, 0.10, True),
    (359, 440, 5.7, 0.04, True),
    (118, 138, 4.4, 0.12, False),
    (152, 178, 6.0, 0.10, False),
    (270, 311, 3.6, 0.05, False),
    (73, 86, 3.8, 0.03, False),
    (98, 105, 1.9, 0.15, False),
)


def simulated_charges(seed: int, count: int) -> tuple[Charge, ...]:
    """Charges drawn from PACKS, so that the recorded ones stay unseen: constant current from a
    random state of charge on, then an exponential fall; a quarter is cut."""
    rng = np.random.default_rng([7, seed])
    share = np.array([pack[3] for pack in PACKS])
    drawn = (_simulated(rng, share / share.sum()) for _ in range(count))
    return tuple(charge for charge in drawn if len(charge.power_w) >= 70)


def _simulated(rng: np.random.Generator, share: Numbers) -> Charge:
    start, end, hours, _, lead = PACKS[int(rng.choice(len(PACKS), p=share))]
    scale, full = rng.normal(1.0, 0.09), hours * 60
    done = np.arange(int(full * rng.uniform(0.0, 0.85)), full) / full
    flat = scale * (start + (end - start) * done ** rng.uniform(0.7, 1.6))
    tau = rng.uniform(28, 75) if lead else rng.uniform(9, 45)
    fall = flat[-1] * np.exp(-np.arange(int(-tau * np.log(rng.uniform(0.04, 0.16)))) / tau)
    power = np.concatenate([flat, fall])
    if rng.random() < 0.25:
        return Charge("simulated", "cut", power[: max(70, int(len(power) * rng.uniform(0.3, 0.8)))])
    return Charge("simulated", "complete", power[:900])


def looks(rule: FlyingWire, power_w: Numbers) -> Iterator[tuple[int, Rows, Features, Times]]:
    """Runs the rule's own steps over (n, minutes) W; after each third minute the open hypotheses:
    the minute, which instances, their features, and when they came on."""
    n, length = power_w.shape
    memory, rows = rule.fresh_columns(n), np.arange(n)
    for minute in range(length):
        rule.take_minute(memory, rows, np.full(n, minute), power_w[:, minute])
        row, h = np.nonzero(memory["state"] != FREE)
        if minute % 3 == 2 and len(row):
            at = np.full(len(row), minute)
            yield minute, row, look(memory, row, h, at), memory["since"][row, h]


def table(rule: FlyingWire, days: Sequence[Circuit]) -> tuple[NDArray[np.float64], Mask, Numbers]:
    """The design matrix of all looks, whether each is a charge, and its weight."""
    parts, true, groups = [], [], []
    plug_in = np.array([day.plug_in for day in days])
    end = np.array([day.end for day in days])
    laptop = np.array([day.kind == "laptop" for day in days])
    for minute, row, seen, since in looks(rule, np.array([day.power_w for day in days])):
        charge = (plug_in[row] >= 0) & (np.abs(since - plug_in[row]) <= ONSET_MINUTES)
        near = (plug_in[row] >= 0) & (minute >= plug_in[row]) & (since <= end[row] + 30)
        use = (minute - since >= rule.decision_minutes) & (seen.plateau >= LEAST_PLATEAU)
        use &= (seen.amplitude >= rule.min_w) & (seen.amplitude <= rule.max_w)
        use &= ~laptop[row] & (charge | ~near)
        parts.append(design(seen)[use])
        true.append(charge[use])
        groups.append(row[use] * 10 * DAY_MINUTES + since[use])
    _, group, count = np.unique(np.concatenate(groups), return_inverse=True, return_counts=True)
    return np.concatenate(parts), np.concatenate(true), WEIGHT / count[group]


def design(features: Features) -> NDArray[np.float64]:
    """A one, and each feature as the hats of its knots."""
    made = [np.ones((len(features.amplitude), 1))]
    for name, column in columns(features).items():
        hats = np.eye(len(KNOTS[name]))
        made.append(np.column_stack([np.interp(column, KNOTS[name], hat) for hat in hats]))
    return np.hstack(made)


def logistic(x: NDArray[np.float64], y: Mask, weight: Numbers) -> Numbers:
    """Ridge logistic regression by Newton's steps; the first column is not shrunk."""
    beta, ridge = np.zeros(x.shape[1]), np.eye(x.shape[1]) * RIDGE
    ridge[0, 0] = 1e-6
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-x @ beta))
        hessian = x.T @ (x * (weight * p * (1 - p))[:, None]) + ridge
        beta += np.linalg.solve(hessian, x.T @ (weight * (y - p)) - ridge @ beta)
    return np.asarray(beta, np.float64)


def fitted(data: Path) -> tuple[float, dict[str, tuple[float, ...]]]:
    """Bias and points, from simulated charges on the tuning half of the recorded backgrounds."""
    charges = simulated_charges(1, 1_500)
    days = [
        day
        for seed in SEEDS
        for day in composed_circuits(Recipe(data, seed, "tune", charges, (1.0,)), DAYS)
    ]
    beta = np.round(logistic(*table(FlyingWire(score=0.999), days)), 2)
    points, at = {}, 1
    for name, knots in KNOTS.items():
        points[name] = tuple(float(value) for value in beta[at : at + len(knots)])
        at += len(knots)
    return float(beta[0]), points


def main() -> None:
    bias, points = fitted(Path(sys.argv[1]))
    lines = [f"BIAS = {bias}", *(f'    "{name}": {values},' for name, values in points.items())]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
