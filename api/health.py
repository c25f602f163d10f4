"""Whether the service can be relied on, and its numbers for Prometheus."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.desk import Desk
from api.views import age_s
from ingest.changes import SEVERITIES
from ingest.counters import ListenerCounters, PipelineCounters
from ingest.inputs import Json
from ingest.journal import JournalError
from ingest.status import read_status
from response.notices import counts

STATUS_FRESH_S = 10.0
OUTBOX_OLD_S = 900.0
"""A notice that is due and has waited longer than this: nobody may be told of anything."""

PROCESSES = ("watch", "respond")
COUNTED = frozenset(
    field.name
    for counters in (ListenerCounters, PipelineCounters)
    for field in fields(counters)
    if field.name != "committed_us"
) | {"appends", "failures", "missing_batches"}
"""Words of the status files that only ever grow while a process lives."""


def status_age_s(data_dir: Path, name: str) -> float | None:
    """Seconds of wall time since that process wrote its status; None: never."""
    try:
        written_s = (data_dir / "status" / f"{name}.json").stat().st_mtime
    except OSError:
        return None
    return max(0.0, time.time() - written_s)


def readiness(desk: Desk) -> list[str]:
    """What is wrong, in words; an empty list: ready."""
    found = [
        *_journal_problems(desk),
        *_watch_problems(desk),
        *_respond_problems(desk),
        *_outbox_problems(desk),
    ]
    return [text.replace("\n", " ") for text in found]


def _journal_problems(desk: Desk) -> Iterator[str]:
    try:
        desk.parts.reader.last()
    except JournalError as error:
        yield f"journal: {error}"
    if desk.follower.problem is not None:
        yield f"journal: {desk.follower.problem}"


def _watch_problems(desk: Desk) -> Iterator[str]:
    age = status_age_s(desk.parts.data_dir, "watch")
    if age is None:
        yield "watch: it has written no status; is it running?"
    elif age > STATUS_FRESH_S:
        yield f"watch: its status is {age:.0f} s old, more than {STATUS_FRESH_S:.0f}"


def _respond_problems(desk: Desk) -> Iterator[str]:
    """A site may run without it; one that ran and fell silent tells nobody of anything."""
    age = status_age_s(desk.parts.data_dir, "respond")
    if age is not None and age > STATUS_FRESH_S:
        yield f"respond: its status is {age:.0f} s old, more than {STATUS_FRESH_S:.0f}"


def _outbox_problems(desk: Desk) -> Iterator[str]:
    try:
        waiting = counts(desk.parts.cases, desk.now_us())
    except SQLAlchemyError as error:
        yield f"cases: the database cannot be read: {type(error).__name__}"
        return
    age = desk.parts.clock.wall_s(waiting.oldest_age_s)
    if age > OUTBOX_OLD_S:
        yield f"outbox: a notice has waited for {age:.0f} s, more than {OUTBOX_OLD_S:.0f}"


def exposition(desk: Desk) -> bytes:
    """Prometheus text."""
    registry = CollectorRegistry()
    registry.register(_Found(tuple(_families(desk))))
    return generate_latest(registry)


class _Found(Collector):
    """Gives what was found once."""

    def __init__(self, families: tuple[Metric, ...]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(desk: Desk) -> Iterator[Metric]:
    yield from _own(desk)
    for process in PROCESSES:
        age = status_age_s(desk.parts.data_dir, process)
        if age is not None:
            text = f"Seconds since {process} wrote its status"
            yield _gauge(f"courtyard_{process}_status_age_seconds", text, age)
        status = read_status(desk.parts.data_dir / "status", process) or {}
        yield from status_families(process, status)


def _own(desk: Desk) -> Iterator[Metric]:
    view = desk.view
    age = age_s(view, desk.parts.clock)
    if age is not None:
        yield _gauge("courtyard_data_age_seconds", "Age of the newest reading", age)
    yield _gauge("courtyard_serve_batch", "Journal batch that the pages show", view.batch)
    yield _gauge("courtyard_live_clients", "Open live streams", len(desk.hub.clients))
    yield _gauge("courtyard_series", "Series that are known", len(view.latest))
    alerts = Counter((a.change.severity, a.change.audience) for a in view.alerts.values() if a.open)
    family = GaugeMetricFamily(
        "courtyard_open_alerts", "Open alerts", labels=["severity", "audience"]
    )
    for severity in SEVERITIES:
        for audience in ("people", "review"):
            family.add_metric([severity, audience], alerts.get((severity, audience), 0))
    yield family


def status_families(process: str, status: Mapping[str, Json]) -> Iterator[Metric]:
    """The numbers of a status file, those of its parts by the part's name; `quarantined` is one
    family with its reasons as label."""
    for word, value in sorted(status.items()):
        name = f"courtyard_{process}_{re.sub(r'[^a-zA-Z0-9_]', '_', word)}"
        if isinstance(value, bool | int | float):
            yield _one(word, name, f"`{word}` of {process}", {"": float(value)})
        elif isinstance(value, dict) and word == "quarantined":
            numbers = {k: float(v) for k, v in value.items() if isinstance(v, int | float)}
            yield _one(word, name, f"Quarantined by {process}, by reason", numbers)
        elif isinstance(value, dict):
            yield from status_families(f"{process}_{word}", value)


def _one(word: str, name: str, text: str, values: Mapping[str, float]) -> Metric:
    labels = [] if set(values) == {""} else ["reason"]
    family: CounterMetricFamily | GaugeMetricFamily
    if word in COUNTED:
        family = CounterMetricFamily(name, text, labels=labels)
    else:
        family = GaugeMetricFamily(name, text, labels=labels)
    for reason, value in values.items():
        family.add_metric([reason] if labels else [], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
