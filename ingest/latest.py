"""The newest fresh reading of every series, as columns by series number."""

from __future__ import annotations

import numpy as np

from ingest.readings import NOT_FRESH, Readings

_NEVER = np.iinfo(np.int64).min


class Latest:
    """Grows with the series; `take_in` costs one sort of the batch."""

    def __init__(self, readings: Readings | None = None) -> None:
        self._time_us = np.full(0, _NEVER, np.int64)
        self._arrival_us = np.zeros(0, np.int64)
        self._value = np.zeros(0, np.float64)
        self._flags = np.zeros(0, np.uint16)
        if readings is not None:
            self.take_in(readings)

    def take_in(self, readings: Readings) -> None:
        """Of one series the later time stays, and of equal times the later row."""
        fresh = readings.take((readings.flags & int(NOT_FRESH)) == 0)
        if not len(fresh):
            return
        self._grow(int(fresh.series.max()) + 1)
        newer = fresh.take(fresh.time_us >= self._time_us[fresh.series])
        # numpy's last assignment to a place wins, so the newest has to come last
        rows = newer.take(np.argsort(newer.time_us, kind="stable"))
        self._time_us[rows.series] = rows.time_us
        self._arrival_us[rows.series] = rows.arrival_us
        self._value[rows.series] = rows.value
        self._flags[rows.series] = rows.flags

    def readings(self) -> Readings:
        """One row a series that has one, by series number."""
        (known,) = np.nonzero(self._time_us != _NEVER)
        return Readings(
            self._time_us[known],
            self._arrival_us[known],
            known.astype(np.int32),
            self._value[known],
            self._flags[known],
        )

    def _grow(self, size: int) -> None:
        more = max(size, 2 * len(self._time_us)) - len(self._time_us)
        if size <= len(self._time_us):
            return
        self._time_us = np.append(self._time_us, np.full(more, _NEVER, np.int64))
        self._arrival_us = np.append(self._arrival_us, np.zeros(more, np.int64))
        self._value = np.append(self._value, np.zeros(more, np.float64))
        self._flags = np.append(self._flags, np.zeros(more, np.uint16))
