"""Lists of what decoders said become columns, whatever they said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.readings import Numbers, Times
from ingest.timestamps import NO_TIME

_NO_TIME = int(NO_TIME)
_FAR_US = 2**61
"""Device times are cut to ± this (73,000 years), so that differences stay within 64 bits."""


def numbers_column(values: list[float]) -> Numbers:
    """NaN, which is let in nowhere, for what is no number at all."""
    try:
        return np.asarray(values, np.float64)
    except (OverflowError, TypeError, ValueError):
        return np.asarray([_number(value) for value in values], np.float64)


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.inf


def times_column(times: Sequence[int | None]) -> Times:
    """NO_TIME where there is none."""
    try:
        column = np.asarray(times, np.int64)
    except (TypeError, OverflowError):
        column = np.asarray(
            [_NO_TIME if us is None else min(max(us, -_FAR_US), _FAR_US) for us in times], np.int64
        )
    return np.where(column == NO_TIME, NO_TIME, np.clip(column, -_FAR_US, _FAR_US))
