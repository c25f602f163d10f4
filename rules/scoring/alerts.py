"""Alerts to be scored: read from a replay's output, or made by driving a kind directly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from ingest.clock import parse_us
from ingest.readings import Numbers, Times
from rules.kind import NO, YES, Kind, Scope


@dataclass(frozen=True, slots=True)
class Alert:
    """One episode; `ended_us` is None while it goes on."""

    rule: str
    device: str
    started_us: int
    ended_us: int | None


class AlertsError(ValueError):
    """A file of alerts that cannot be used; the text says where and why."""


class _Line(msgspec.Struct):
    rule: str
    device: str
    started_at: str
    ended_at: str | None = None


def read_alerts(path: Path, rules: Sequence[str] = ()) -> list[Alert]:
    """NDJSON as `courtyard rules replay` writes it; of `rules` only, unless that is empty."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                entry = msgspec.json.decode(line, type=_Line)
                ended = None if entry.ended_at is None else parse_us(entry.ended_at)
                found.append(Alert(entry.rule, entry.device, parse_us(entry.started_at), ended))
            except ValueError as error:  # msgspec's errors are ValueErrors too
                raise AlertsError(f"{path}:{number} no line of a replay: {error}") from None
    return [alert for alert in found if not rules or alert.rule in rules]


def drive(
    kind: Kind, rule: str, devices: Sequence[str], time_us: Times, value: Numbers
) -> Iterator[Alert]:
    """What a kind says of `value` (n, T), one row a device, read at `time_us` (T,): an alert is
    a run of YES. NaN is a reading that did not come."""
    n = len(devices)
    memory, rows = kind.fresh_columns(n), np.arange(n)
    open_since = np.full(n, -1, np.int64)
    for column, now_us in enumerate(time_us):
        came = np.nonzero(~np.isnan(value[:, column]))[0]
        if not len(came):
            continue
        verdicts = kind.observe(memory, rows[came], _scope(value[came, column], int(now_us)))
        started = (verdicts == YES) & (open_since[came] < 0)
        ended = (verdicts == NO) & (open_since[came] >= 0)
        for row in came[ended].tolist():
            yield Alert(rule, devices[row], int(open_since[row]), int(now_us))
        open_since[came[ended]] = -1
        open_since[came[started]] = now_us
    for row in np.nonzero(open_since >= 0)[0].tolist():
        yield Alert(rule, devices[row], int(open_since[row]), None)


def _scope(value: Numbers, now_us: int) -> Scope:
    n = len(value)
    now = np.full(n, now_us, np.int64)
    return Scope(
        value=value[:, None],
        time_us=now[:, None],
        fresh=np.ones((n, 1), np.bool_),
        heard_us=now,
        known_us=now,
        now_us=now,
        parameters={},
        seen_since_us={},
    )


def by_device(alerts: Iterable[Alert]) -> dict[str, list[Alert]]:
    """The alerts of each device in the order in which they started."""
    groups: dict[str, list[Alert]] = {}
    for alert in sorted(alerts, key=lambda entry: entry.started_us):
        groups.setdefault(alert.device, []).append(alert)
    return groups
