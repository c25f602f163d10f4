"""Follows the journal: alerts, notices and cursor of a stretch of batches are one transaction."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ingest.changes import Change
from ingest.journal import Batch
from ingest.store import Cursor
from response.alerts import ended
from response.db import Alert, CursorRow, reading, writing
from response.outbox import Public, hold_late, take_in

NAME = "respond"
STRETCH = 64  # batches a transaction; a batch may hold 5,000 readings, which are read along
QUIET_BATCHES = 256
"""The cursor moves with every change, and at least once in so many batches without any."""

REBUILT_ALERTS = 10_000


class Known(Protocol):
    """An alert as the journal knows it: its newest change."""

    @property
    def change(self) -> Change: ...


class Journal(Protocol):
    """What response reads of a journal (`ingest.journal.JournalReader` and its alerts)."""

    id: str

    def last(self) -> int: ...

    def read(self, after: int, limit: int = ...) -> Sequence[Batch]: ...

    def alerts(self, limit: int, open_only: bool = False) -> Sequence[Known]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Follower:
    """One thread at a time. `cursor` is how far it has read, which may be a quiet stretch beyond
    what is written; `rebuilt` says why the alerts had to be rebuilt last, if they had to."""

    engine: Engine
    journal: Journal
    public: Public
    now_us: Callable[[], int]
    publish: Callable[[Cursor], None]
    cursor: Cursor | None = None
    written: Cursor | None = None
    rebuilt: str = ""
    _told: int = field(default=0, init=False)
    _holding: bool = field(default=False, init=False)

    def step(self) -> bool:
        """Takes in the next stretch; whether there may be more. Raises JournalError and database
        errors with nothing of the stretch taken in, so that it can be tried again."""
        cursor = self._start()
        if cursor.journal != self.journal.id:
            return self._rebuild(f"the cursor is of another journal, {cursor.journal}")
        try:
            batches = self.journal.read(cursor.batch, STRETCH)
        except LookupError as error:
            return self._rebuild(str(error))
        if not batches:
            return False
        more = len(batches) == STRETCH
        self._take_in(batches, more)
        return more

    def take_told(self) -> int:
        """How many notices were written since this was last asked."""
        told, self._told = self._told, 0
        return told

    def _start(self) -> Cursor:
        if self.cursor is None:
            self.cursor = self.written = read_cursor(self.engine, NAME)
        if self.cursor is None:
            self.cursor = Cursor(self.journal.id, 0)
        return self.cursor

    def _take_in(self, batches: Sequence[Batch], more: bool) -> None:
        changes = [change for batch in batches for change in batch.changes]
        reached = Cursor(self.journal.id, batches[-1].number)
        written = self.written.batch if self.written else 0
        if changes or reached.batch - written >= QUIET_BATCHES or (more and self._holding):
            self._commit(changes, reached, more)
        self.cursor = reached

    def _commit(self, changes: Sequence[Change], reached: Cursor, more: bool) -> None:
        now_us = self.now_us()
        with writing(self.engine) as session:
            _move(session, NAME, reached)
            told = take_in(session, changes, self.public, now_us)
            self._holding = more and hold_late(session, self.public.telling, now_us)
        self.written = reached
        self._told += told
        self.publish(reached)

    def _rebuild(self, reason: str) -> bool:
        reached = Cursor(self.journal.id, self.journal.last())
        rows = (
            *self.journal.alerts(REBUILT_ALERTS),
            *self.journal.alerts(REBUILT_ALERTS, open_only=True),
        )
        newest = {row.change.episode: row.change for row in rows}
        ends = _vanished(self.engine, newest, self.now_us())
        self._commit([*_as_news(newest.values()), *ends], reached, more=True)
        self.cursor = reached
        self.rebuilt = f"alerts rebuilt up to batch {reached.batch}: {reason}"
        return True


def read_cursor(engine: Engine, name: str) -> Cursor | None:
    with reading(engine) as session:
        row = session.get(CursorRow, name)
        return Cursor(row.journal, row.batch) if row else None


def _move(session: Session, name: str, cursor: Cursor) -> None:
    # first of all in the transaction: on a server this row is what keeps two followers apart
    row = session.get(CursorRow, name, with_for_update=True)
    if row is None:
        row = CursorRow(name=name)
        session.add(row)
    row.journal, row.batch = cursor.journal, cursor.batch
    session.flush()


def _as_news(changes: Iterable[Change]) -> list[Change]:
    """What must be taken in to know alerts of which only the newest change is left."""
    news: list[Change] = []
    for change in sorted(changes, key=lambda change: (change.started_us, change.episode)):
        if change.state in {"unknown", "known"}:
            news.append(replace(change, state="firing", at_us=change.started_us))
        news.append(change)
    return news


def _vanished(engine: Engine, known: Container[str], now_us: int) -> list[Change]:
    """The ends of alerts that are open here and that the journal no longer knows."""
    query = select(Alert).where(Alert.state != "resolved")
    with reading(engine) as session:
        return [ended(row, now_us) for row in session.scalars(query) if row.episode not in known]
