"""History as it is asked for over HTTP: checked, cut into steps, empty steps left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from api import schemas
from api.parts import Parts
from api.problems import ProblemError
from api.views import iso_column
from ingest.clock import US_PER_S, parse_us
from ingest.metrics import CATALOGUE
from ingest.shelf import nearest
from ingest.store import Buckets, StoreError

DAY_US = 86_400 * US_PER_S
LONGEST_US = 400 * DAY_US
STEP_US = 1_000
EARLIEST_US = 0
LATEST_US = 4_102_444_800 * US_PER_S  # 2100-01-01


@dataclass(frozen=True, slots=True)
class HistoryAsked:
    """A request for history; times as the client wrote them."""

    device: str
    channel: str
    metric: str
    since: str | None
    until: str | None
    points: int


def read_history(parts: Parts, asked: HistoryAsked, now_us: int) -> schemas.History:
    """Raises ProblemError: 422 for what was asked badly, 503 if the store does not answer."""
    if asked.metric not in CATALOGUE:
        hint = nearest(asked.metric, tuple(CATALOGUE))
        raise ProblemError(422, f"metric: no metric {asked.metric!r}{hint}")
    since_us, until_us = time_range(asked.since, asked.until, now_us)
    step_us = step_for(until_us - since_us, asked.points)
    found = steps_of(parts, asked.device, asked.channel, asked.metric, since_us, until_us, step_us)
    kept = found.count > 0
    return schemas.History(
        device=asked.device,
        channel=asked.channel,
        metric=asked.metric,
        unit=CATALOGUE[asked.metric].unit,
        step_s=step_us / US_PER_S,
        start=iso_column(found.start_us[kept]),
        mean=found.mean[kept].tolist(),
        min=found.low[kept].tolist(),
        max=found.high[kept].tolist(),
        count=found.count[kept].tolist(),
    )


def steps_of(
    parts: Parts,
    device: str,
    channel: str,
    metric: str,
    since_us: int,
    until_us: int,
    step_us: int,
) -> Buckets:
    """Raises ProblemError 503 if the store does not answer."""
    try:
        found = parts.history.buckets(
            parts.registry.site, device, channel, metric, since_us, until_us, step_us
        )
    except StoreError as error:
        raise ProblemError(503, f"history cannot be read now: {error}") from error
    finite = np.isfinite(found.mean)
    count = np.where(finite, found.count, 0)
    return Buckets(found.start_us, found.mean, found.low, found.high, count)


def step_for(span_us: int, points: int) -> int:
    """The shortest step of whole milliseconds that needs at most `points` of them."""
    return max(STEP_US, -(-span_us // (points * STEP_US)) * STEP_US)


def time_range(since: str | None, until: str | None, now_us: int) -> tuple[int, int]:
    """(since, until) in µs; the last 24 h by default. Raises ProblemError 422."""
    until_us = now_us if until is None else _moment("to", until)
    since_us = until_us - DAY_US if since is None else _moment("from", since)
    if since_us >= until_us:
        raise ProblemError(422, "from: must be before `to`")
    if until_us - since_us > LONGEST_US:
        raise ProblemError(422, "from: at most 400 days before `to`; ask for less at a time")
    return since_us, until_us


def _moment(name: str, text: str) -> int:
    try:
        time_us = parse_us(text)
    except (ValueError, OverflowError):
        right = "write ISO 8601, as 2026-11-24T13:05:00Z"
        raise ProblemError(422, f"{name}: {text[:40]!r} is no time; {right}") from None
    if not EARLIEST_US <= time_us <= LATEST_US:
        raise ProblemError(422, f"{name}: must be between 1970 and 2100")
    return time_us
