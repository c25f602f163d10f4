"""All latest values as bytes: encoded from columns, at most once a second."""

from __future__ import annotations

import time

import numpy as np
import orjson

from api.follower import NEVER_US, View
from api.views import iso_column, unit_of

FRESH_S = 1.0


class LatestBytes:
    """The body of GET latest. The columns that never change are encoded once for all."""

    def __init__(self, fresh_s: float = FRESH_S) -> None:
        self._fresh_s = fresh_s
        self._made_s = -1e9
        self._batch = -1
        self._body = b""
        self._names: dict[str, orjson.Fragment] = {}
        self._named = -1

    def of(self, view: View) -> bytes:
        """Not older than the view by more than a second."""
        now_s = time.monotonic()
        if self._batch != view.batch and now_s - self._made_s >= self._fresh_s:
            self._body, self._batch, self._made_s = self._encode(view), view.batch, now_s
        return self._body

    def _encode(self, view: View) -> bytes:
        rows = np.flatnonzero(view.latest.time_us != NEVER_US)
        if len(rows) != self._named:  # series gain their first value and never lose their last
            self._names, self._named = _names(view, rows), len(rows)
        latest = view.latest.take(rows)
        body = {
            "batch": view.batch,
            **self._names,
            "time": iso_column(latest.time_us),
            "value": latest.value,
            "flags": latest.flags,
        }
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _names(
    view: View, rows: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> dict[str, orjson.Fragment]:
    series = [view.series[k] for k in rows.tolist()]
    columns = {
        "device": [one.device for one in series],
        "channel": [one.channel for one in series],
        "metric": [one.metric for one in series],
        "unit": [unit_of(one.metric) for one in series],
    }
    return {name: orjson.Fragment(orjson.dumps(column)) for name, column in columns.items()}
