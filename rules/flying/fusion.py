"""How evidence of different kinds joins into one probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ingest.readings import Mask, Numbers

FURTHER = 0.7  # of a positive log ratio beside the largest: witnesses are not independent


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much more often this is there with a charger on a flying wire than without."""

    value: float
    source: str


RATIOS: Mapping[str, Ratio] = {
    "meter": Ratio(1.7, "active power alone, no history of the circuit: TPR .83-.94, FPR .50"),
    "meter_taper": Ratio(19.0, "active power with a taper: TPR .60, FPR .032 a circuit-day"),
    "cable_hanging": Ratio(30.0, "cable seen for 3 min: TPR .6, FPR .02; to be learned per camera"),
    "ebike": Ratio(4.0, "e-bike standing for 10 min where none may: an assumption to be learned"),
}
PERSISTS_S: Mapping[str, int] = {"cable_hanging": 180, "ebike": 600}

STAGES = ((0.8, "probable"), (0.5, "suspect"), (0.2, "look"))
"""From which probability on: a person dispatches, the duty desk reviews, a look at the video."""


def log_odds(prior: float, present: Mapping[str, Mask]) -> Numbers:
    """(k,) logit of p. `present` says for each word of RATIOS where that evidence is there."""
    logs = {word: math.log(RATIOS[word].value) for word in present}
    shape = next(iter(present.values())).shape
    largest, positive, negative = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for word, there in present.items():
        value = np.where(there, logs[word], 0.0)
        largest = np.maximum(largest, value)
        positive += np.maximum(value, 0.0)
        negative += np.minimum(value, 0.0)
    return math.log(prior / (1 - prior)) + largest + FURTHER * (positive - largest) + negative


def probability(odds: float) -> float:
    """Of -inf too, as of a load that was never scored."""
    return 1.0 / (1.0 + math.exp(min(-odds, 700.0)))


def stage(p: float) -> str:
    """`probable`, `suspect` or `look`; empty below."""
    return next((word for least, word in STAGES if p >= least), "")
