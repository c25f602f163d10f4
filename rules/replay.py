"""The same engine over a file or over stored history: what would have been alerted, when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from ingest.changes import Change, Severity
from ingest.clock import US_PER_S, format_us
from ingest.inputs import Inputs, Json
from ingest.readings import Readings, Series, SeriesTable
from ingest.registry import Registry
from rules.engine import start, step
from rules.rule import Rulebook

BATCH_ROWS = 100_000
"""Rows a step, where nothing else is asked for."""

Slice = tuple[Readings, tuple[Series, ...]]
"""Readings, by arrival, and the series that are new with them, numbered on from the last."""


class Scanned(Protocol):
    """Stored history, as of `ingest.store.Store` or `ingest.history.History`."""

    def scan(self, since_us: int, until_us: int, table: SeriesTable) -> Iterator[Readings]: ...


Progress = Callable[[int, int], None]
"""Told after every step: rows so far, and the arrival of the newest, in µs."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert from firing to resolved; `ended_us` None: it still fired at the last row.
    `evidence` is that of the moment of firing."""

    rule: str
    site: str
    device: str
    channel: str
    severity: Severity
    started_us: int
    ended_us: int | None
    episode: str
    evidence: Mapping[str, Json]


def replay(
    rulebook: Rulebook,
    registry: Registry | None,
    readings: Iterable[Slice],
    *,
    types: Mapping[str, str] | None = None,
    start_us: int | None = None,
    batch: int = BATCH_ROWS,
    progress: Progress | None = None,
) -> Iterator[Episode]:
    """The episodes, ordered by (start, device, channel, rule), once all readings are through.

    `types` are those of devices that no registry knows. Time begins just before the first row, or
    at `start_us`, and ends at the grid point of the last row. The result does not depend on
    `batch`, the rows of one step. Raises ValueError where a slice arrived before the last one.
    """
    return iter(episodes(_changes(rulebook, registry, readings, types, start_us, batch, progress)))


def episodes(changes: Iterable[Change]) -> list[Episode]:
    """Changes folded into episodes, ordered by (start, device, channel, rule)."""
    found: dict[str, Episode] = {}
    for change in changes:
        if change.state == "firing":
            found[change.episode] = _episode(change)
        elif change.state == "resolved" and change.episode in found:
            opened = found[change.episode]
            found[change.episode] = replace(opened, ended_us=change.at_us)
    return sorted(found.values(), key=lambda e: (e.started_us, e.device, e.channel, e.rule, e.site))


def episode_line(episode: Episode) -> str:
    """One line of NDJSON, as `courtyard rules replay` writes it."""
    body = {
        "rule": episode.rule,
        "device": episode.device,
        "channel": episode.channel,
        "severity": episode.severity,
        "started_at": format_us(episode.started_us),
        "ended_at": None if episode.ended_us is None else format_us(episode.ended_us),
        "episode": episode.episode,
        "evidence": episode.evidence,
    }
    return msgspec.json.encode(body).decode()


def stored(store: Scanned, since_us: int, until_us: int) -> Iterator[Slice]:
    """Stored history that arrived in [since, until), for `replay`."""
    table, known = SeriesTable(), 0
    for readings in store.scan(since_us, until_us, table):
        yield readings, tuple(table.rows[known:])
        known = len(table)


def _changes(
    rulebook: Rulebook,
    registry: Registry | None,
    readings: Iterable[Slice],
    types: Mapping[str, str] | None,
    start_us: int | None,
    batch: int,
    progress: Progress | None,
) -> Iterator[Change]:
    state, rows, newest_us = None, 0, 0
    for part, new_series in _cut(readings, batch):
        if state is None:
            begin_us = int(part.arrival_us[0]) - 1 if start_us is None else start_us
            state, newest_us = start(rulebook, registry, begin_us, types), begin_us
        if (
            int(part.arrival_us[0]) < newest_us
            or (part.arrival_us[1:] < part.arrival_us[:-1]).any()
        ):
            raise ValueError("readings to replay must be ordered by arrival")
        newest_us = int(part.arrival_us[-1])
        # more rows of the same arrival may follow in the next slice
        state, changes = step(state, Inputs(part, new_series=new_series), newest_us - 1)
        yield from changes
        rows += len(part)
        if progress:
            progress(rows, newest_us)
    if state is not None:
        last_us = -(-newest_us // US_PER_S) * US_PER_S
        yield from step(state, Inputs(Readings.empty()), last_us)[1]


def _cut(readings: Iterable[Slice], batch: int) -> Iterator[Slice]:
    new: tuple[Series, ...] = ()
    for part, more in readings:
        new += more
        for begin in range(0, len(part), batch):
            yield part.take(slice(begin, begin + batch)), new
            new = ()


def _episode(change: Change) -> Episode:
    return Episode(
        change.rule,
        change.site,
        change.device,
        change.channel,
        change.severity,
        change.started_us,
        None,
        change.episode,
        change.evidence,
    )
