"""The journal as a view in memory: latest values as columns, alerts, presence."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from api.parts import AlertRow, Reader
from ingest.changes import Change
from ingest.inputs import Presence
from ingest.journal import Batch, JournalError
from ingest.readings import NOT_FRESH, Readings, Series, SeriesTable

log = logging.getLogger(__name__)

NEVER_US = int(np.iinfo(np.int64).min)

CLOSED_ALERTS = 2_000
"""So many resolved alerts stay in memory; older ones are in the journal's table."""

STEPS = 50
"""So many newest changes of one alert are kept for its time line."""

BATCHES = 1_000
POLL_S = 0.1
RETRY_S = 2.0
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it stands: its newest change, and those before it that were seen."""

    change: Change
    resolved_us: int | None
    steps: tuple[Change, ...]

    @property
    def open(self) -> bool:
        return self.resolved_us is None


@dataclass(frozen=True, slots=True)
class View:
    """Everything as of `batch`. Row k of `latest` is series k (`time_us` NEVER_US: none yet);
    `now_us` is the service clock of that batch, `heard_us` the newest arrival."""

    batch: int = 0
    now_us: int = NEVER_US
    heard_us: int = NEVER_US
    series: tuple[Series, ...] = ()
    latest: Readings = field(default_factory=Readings.empty)
    rows_of: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    presence: Mapping[str, Presence] = field(default_factory=dict)

    def known(self, device: str) -> list[int]:
        """The series of a device that have a value, in order of channel and metric."""
        rows = [k for k in self.rows_of.get(device, ()) if self.latest.time_us[k] != NEVER_US]
        return sorted(rows, key=lambda k: self.series[k])

    def newest_us(self, device: str) -> int:
        """The newest arrival of a value of the device, NEVER_US if there is none."""
        rows = list(self.rows_of.get(device, ()))
        return int(self.latest.arrival_us[rows].max()) if rows else NEVER_US


@dataclass(frozen=True, slots=True)
class Step:
    """What following some batches brought; `before` is the batch that was followed on."""

    view: View
    before: int
    changes: tuple[tuple[int, Change], ...] = ()
    touched: frozenset[int] = frozenset()


def begin(batch: int, latest: Readings, table: SeriesTable, alerts: Iterable[AlertRow]) -> View:
    """The view as of `batch`; `table` may already be further, never behind."""
    view = _with_series(View(batch=batch), tuple(table.rows))
    columns, _ = _newest(view.latest, latest)
    heard_us = int(latest.arrival_us.max()) if len(latest) else NEVER_US
    shown = {
        row.change.episode: Alert(row.change, row.resolved_us, (row.change,)) for row in alerts
    }
    now_us = max([heard_us, *(alert.change.at_us for alert in shown.values())])
    return replace(view, latest=columns, heard_us=heard_us, now_us=now_us, alerts=shown)


def advance(view: View, batches: Sequence[Batch]) -> Step:
    """The view after those batches, which follow on it. Pure."""
    if not batches:
        return Step(view, view.batch)
    before = view.batch
    new_series = list(itertools.chain.from_iterable(b.inputs.new_series for b in batches))
    if new_series:  # the table that we began with may have had some of them already
        view = _with_series(view, tuple(dict.fromkeys((*view.series, *new_series))))
    arrived = Readings.concat([b.inputs.readings for b in batches])
    columns, touched = _newest(view.latest, arrived)
    changes = tuple((b.number, change) for b in batches for change in b.changes)
    heard_us = max([view.heard_us, *arrived.arrival_us[-1:].tolist()])
    after = replace(
        view,
        batch=batches[-1].number,
        now_us=batches[-1].now_us,
        heard_us=heard_us,
        latest=columns,
        alerts=_with_changes(view.alerts, [change for _, change in changes]),
        presence=_with_presence(view.presence, batches),
    )
    return Step(after, before, changes, touched)


def _with_series(view: View, series: tuple[Series, ...]) -> View:
    more = len(series) - len(view.latest)
    if not more:
        return view
    rows_of: dict[str, tuple[int, ...]] = dict(view.rows_of)
    for k in range(len(view.latest), len(series)):
        rows_of[series[k].device] = (*rows_of.get(series[k].device, ()), k)
    never = np.full(more, NEVER_US)
    blank = Readings(
        never,
        never,
        np.arange(len(view.latest), len(series), dtype=np.int32),
        np.full(more, np.nan),
        np.zeros(more, np.uint16),
    )
    return replace(
        view, series=series, latest=Readings.concat([view.latest, blank]), rows_of=rows_of
    )


def _newest(latest: Readings, arrived: Readings) -> tuple[Readings, frozenset[int]]:
    """`latest` with what is fresh in `arrived`, and the series that it changed."""
    fresh = arrived.take((arrived.flags & np.uint16(NOT_FRESH)) == 0)
    fresh = fresh.take(np.argsort(fresh.time_us, kind="stable"))
    fresh = fresh.take(fresh.time_us >= latest.time_us[fresh.series])
    if not len(fresh):
        return latest, frozenset()
    rows = fresh.series
    columns = Readings(
        latest.time_us.copy(),
        latest.arrival_us.copy(),
        latest.series,
        latest.value.copy(),
        latest.flags.copy(),
    )
    # of equal row numbers in an assignment the last one stays: rows are in order of time
    columns.time_us[rows] = fresh.time_us
    columns.arrival_us[rows] = fresh.arrival_us
    columns.value[rows] = fresh.value
    columns.flags[rows] = fresh.flags
    return columns, frozenset(np.unique(rows).tolist())


def _with_changes(alerts: Mapping[str, Alert], changes: Sequence[Change]) -> Mapping[str, Alert]:
    if not changes:
        return alerts
    shown = dict(alerts)
    for change in changes:
        known = shown.get(change.episode)
        if known and (change.at_us < known.change.at_us or change in known.steps):
            continue
        steps = (*(known.steps if known else ()), change)[-STEPS:]
        resolved_us = change.at_us if change.state == "resolved" else None
        shown[change.episode] = Alert(change, resolved_us, steps)
    return _bounded(shown)


def _bounded(alerts: dict[str, Alert]) -> dict[str, Alert]:
    closed = [(a.resolved_us, e) for e, a in alerts.items() if a.resolved_us is not None]
    for _, episode in sorted(closed)[:-CLOSED_ALERTS]:
        del alerts[episode]
    return alerts


def _with_presence(
    presence: Mapping[str, Presence], batches: Sequence[Batch]
) -> Mapping[str, Presence]:
    news = {p.device: p for b in batches for p in b.inputs.presences}
    return {**presence, **news} if news else presence


class Follower:
    """Keeps a View at the journal's end. All journal reads go through its one thread, so that a
    reader needs to be safe for one thread at a time only."""

    def __init__(self, reader: Reader, tell: Callable[[Step], None], lost: Callable[[], None]):
        self.reader = reader
        self.view = View()
        self.problem: str | None = "the journal was not read yet"
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._tell = tell
        self._lost = lost
        self._looked_s = 0.0

    def start(self) -> None:
        """Reads the tables that outlive segments. Raises JournalError."""
        batch, latest = self.reader.latest()
        table = self.reader.table()  # after `latest`, so that it has all of its series
        newest = self.reader.alerts(CLOSED_ALERTS)
        still_open = self.reader.alerts(100_000, open_only=True)
        self.view = begin(batch, latest, table, [*newest, *still_open])
        self.problem = None

    def _read(self, after: int) -> Sequence[Batch]:
        """Also notices, once a second of silence, a journal that is gone or was begun anew."""
        batches = self.reader.read(after, BATCHES)
        now_s = time.monotonic()
        if not batches and now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            if self.reader.last() < after:
                raise LookupError("the journal was begun anew")
        return batches

    async def run(self, first: asyncio.Event) -> None:
        """Follows until cancelled, and sets `first` once it has read, or tried to. What goes wrong
        is told by `problem`, and it begins anew."""
        while True:
            try:
                await self._follow(first)
            except LookupError as error:
                self.problem = f"starting over: {error}"
                self._lost()
            except JournalError as error:
                self.problem = str(error)
            except Exception as error:  # a page that stands still must say so, and try again
                log.exception("following the journal failed")
                self.problem = f"following the journal failed: {type(error).__name__}"
                self._lost()
            first.set()
            await asyncio.sleep(RETRY_S)

    async def _follow(self, first: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        if self.problem is not None:
            await loop.run_in_executor(self.thread, self.start)
        while True:
            batches = await loop.run_in_executor(self.thread, self._read, self.view.batch)
            step = advance(self.view, batches)
            self.view = step.view
            self._tell(step)
            if len(batches) < BATCHES:
                first.set()
                await asyncio.sleep(POLL_S)

    def close(self) -> None:
        self.thread.shutdown(cancel_futures=True)
