"""From the course of a hypothesis to how likely it is a charger: a table of points."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ingest.readings import Mask, Numbers
from rules.flying.features import Features

LEAST_PLATEAU = 12.0  # minutes within the band of the amplitude
TAPER_FALL, TAPER_MINUTES, TAPER_JUMP, TAPER_RISE = 0.3, 18.0, 0.22, 0.08

KNOTS: Mapping[str, tuple[float, ...]] = {
    "amplitude": (60, 100, 520),
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
BIAS = -2.58
POINTS: Mapping[str, tuple[float, ...]] = {
    "amplitude": (-0.92, 0.84, 0.08),
    "plateau": (-0.56, -0.77, -0.24, 0.13, 0.32, 0.33, 1.02, -0.22),
    "ripple": (0.36, 0.3, -0.46, -0.01, 0.2, -0.05, -0.33),
    "slope": (-0.39, -0.32, 0.06, 0.15, -0.33, -0.38, 0.46, 1.21, 0.06, -0.17, -0.36),
    "scatter": (0.58, 0.5, -0.41, -0.44, 0.16, -0.39),
    "fall": (-0.52, -1.37, 0.31, 0.88, 0.7),
    "jump": (0.95, 0.49, -0.58, -0.86),
    "rise": (-0.69, 0.04, 0.65),
    "repeats": (0.96, 0.19, -1.01, -0.14),
    "taper": (-0.63, 0.63),
}
"""Log odds at the knots. Fitted by `python -m rules.scoring.fit DATA` on simulated charges over the
tuning half of the recorded backgrounds (seeds 11 to 18, 60 days of each background): no recorded
charge and no background of the report was used. A day of these has 0.5 charges: the score is no
probability of a flying wire, it orders loads. Run again it gives these within 0.1, because which
loads are followed depends a little on the points in force."""


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
