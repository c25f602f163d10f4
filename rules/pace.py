"""The pace of a series: what counts as consecutive, and what as a gap."""

from __future__ import annotations

import numpy as np

from ingest.readings import Mask, Times

GAP_PACES = 10
"""Rows further apart than so many usual intervals are not consecutive."""


def paced(pace_us: Times, step_us: Times) -> tuple[Mask, Times]:
    """Whether the step (k,) from the row before is a gap, and the pace from now on. Pace 0: not
    known yet, so the first step sets it. The pace follows a faster device at once, and a slower
    one by doubling, so that a device that changes its interval is believed after a few rows."""
    gap = (pace_us > 0) & (step_us > GAP_PACES * pace_us)
    pace = np.where(pace_us > 0, np.minimum(step_us, 2 * pace_us), step_us)
    return gap, pace
