"""Which time counts, and why: the device's where it is believable, else arrival."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.clock import US_PER_S
from ingest.readings import Flag, Flags, Mask, Times

NO_TIME = np.int64(np.iinfo(np.int64).min)
"""Stands in a column of device times where the device gave none."""

AHEAD_US = 120 * US_PER_S
LATE_US = 600 * US_PER_S
FAR_AHEAD_US = 86_400 * US_PER_S
UNSET_US = 1_420_070_400 * US_PER_S  # 2015-01-01: no device of ours existed before it
HORIZON_US = 35 * 86_400 * US_PER_S


@dataclass(frozen=True, slots=True)
class Judged:
    """Times that count, their flags, and which rows are too old to be kept or far in the future."""

    time_us: Times
    flags: Flags
    too_old: Mask
    far_ahead: Mask


def judge(
    device_us: Times, arrival_us: Times, flags: Flags, horizon_us: int = HORIZON_US
) -> Judged:
    """Columns of shape (n,). Rows with `device_us == NO_TIME` have no time of their own."""
    missing = device_us == NO_TIME
    unset = ~missing & (device_us < UNSET_US)
    believed = ~missing & ~unset & ((flags & np.uint16(Flag.TS_UNIT)) == 0)
    # a difference with NO_TIME would overflow, so such rows get an age of zero
    age_us = np.where(believed, arrival_us - np.where(believed, device_us, arrival_us), 0)
    ahead = age_us < -AHEAD_US
    late = age_us > LATE_US
    judged = flags.copy()
    judged[missing] |= np.uint16(Flag.TS_MISSING)
    judged[unset] |= np.uint16(Flag.TS_UNSET)
    judged[ahead] |= np.uint16(Flag.CLOCK_AHEAD)
    judged[late] |= np.uint16(Flag.LATE)
    return Judged(
        np.where(believed & ~ahead, device_us, arrival_us),
        judged,
        age_us > horizon_us,
        age_us < -FAR_AHEAD_US,
    )
