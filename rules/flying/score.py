"""From the course of a hypothesis to how likely it is a charger: a table of points."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ingest.readings import Mask, Numbers
from rules.flying.features import Features

LEAST_PLATEAU = 12.0  # minutes within the band of the amplitude
TAPER_FALL, TAPER_MINUTES, TAPER_JUMP, TAPER_RISE = 0.3, 18.0, 0.22, 0.08

KNOTS: Mapping[str, tuple[float, ...]] = {
    "amplitude": (60, 80, 110, 160, 240, 360, 520),
    "plateau": (12, 20, 30, 45, 70, 110, 180, 300),
    "ripple": (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16),
    "slope": (-0.5, -0.2, -0.08, -0.03, -0.01, 0.005, 0.02, 0.04, 0.08, 0.2, 0.5),
    "scatter": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    "fall": (0, 0.08, 0.2, 0.4, 0.7),
    "jump": (0.08, 0.15, 0.3, 0.6),
    "rise": (0.02, 0.08, 0.2),
    "repeats": (0, 1, 2, 3),
    "taper": (0, 1),
}
BIAS = -2.1
POINTS: Mapping[str, tuple[float, ...]] = {
    "amplitude": (-0.26, -0.73, 0.18, 0.61, 0.52, -0.76, 0.44),
    "plateau": (-0.57, -0.84, -0.28, 0.13, 0.33, 0.33, 1.09, -0.19),
    "ripple": (0.35, 0.32, -0.61, 0.02, 0.24, -0.05, -0.27),
    "slope": (-0.4, -0.38, 0.02, 0.21, -0.23, -0.48, 0.4, 1.24, 0.14, -0.13, -0.39),
    "scatter": (0.52, 0.48, -0.25, -0.38, 0.07, -0.44),
    "fall": (-0.53, -1.36, 0.36, 0.86, 0.66),
    "jump": (0.97, 0.36, -0.46, -0.86),
    "rise": (-0.79, 0.14, 0.65),
    "repeats": (1.02, 0.16, -1.04, -0.15),
    "taper": (-0.62, 0.62),
}
"""Fitted by `python -m rules.scoring.fit` on simulated charges over the tuning half of the recorded
backgrounds (seeds 11 to 18): no recorded charge and no reported background was used."""


def taper_seen(features: Features) -> Mask:
    """(k,) whether a plateau is falling away steadily, as a pack that is nearly full makes it."""
    return (
        (features.fall > TAPER_FALL)
        & (features.fall_minutes >= TAPER_MINUTES)
        & (features.jump < TAPER_JUMP)
        & (features.rise < TAPER_RISE)
        & (features.plateau >= LEAST_PLATEAU)
    )


def columns(features: Features) -> dict[str, Numbers]:
    """What is scored, by the names of KNOTS; an unknown ripple is taken as middling."""
    return {
        "amplitude": features.amplitude,
        "plateau": features.plateau,
        "ripple": np.nan_to_num(features.ripple, nan=0.02),
        "slope": np.nan_to_num(features.slope, nan=0.0),
        "scatter": features.scatter,
        "fall": features.fall,
        "jump": features.jump,
        "rise": features.rise,
        "repeats": features.repeats,
        "taper": taper_seen(features).astype(np.float64),
    }


def log_odds(features: Features) -> Numbers:
    """(k,) the sum of the points, each interpolated between its knots."""
    total = np.full(len(features.amplitude), BIAS)
    for name, column in columns(features).items():
        total += np.interp(column, KNOTS[name], POINTS[name])
    return total
