"""Columns that grow: twice as long each time, the new rows filled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_ROWS = 16


def column(fill: Any, *shape: int) -> NDArray[Any]:
    """No rows yet, of the type of `fill`."""
    return np.full((0, *shape), fill)


def longer(column: NDArray[Any], fill: Any, rows: int = 0) -> NDArray[Any]:
    """A copy of at least twice the length, or of `rows` if that is more."""
    more = max(FIRST_ROWS, 2 * len(column), rows) - len(column)
    return np.concatenate([column, np.full((more, *column.shape[1:]), fill, column.dtype)])
