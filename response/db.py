"""The case database: its tables, and how it is opened. The only file with SQL of one engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    create_engine,
    event,
)
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

AlertState = Literal["firing", "unknown", "resolved"]
ActionKind = Literal["acknowledge", "unacknowledge", "comment"]
NoticeKind = Literal["firing", "resolved", "missed", "digest"]
"""`missed`: an alert that came and went while nobody could be told; `digest`: many in one."""

NoticeState = Literal["waiting", "leased", "sent", "dead", "cancelled"]
CancelReason = Literal["", "acknowledged", "resolved", "never_told", "lost_track", "empty"]
"""`never_told`: the news of the end, for one who was not told of the beginning; `lost_track`: need
not be told any more, but a dispatcher was lost over it, so that it may have gone out."""

Outcome = Literal["sent", "retry", "dead", "unknown"]

BUSY_MS = 10_000

# SQLite gives row numbers to INTEGER keys only, and its integers are of 64 bits anyway
_Key = BigInteger().with_variant(Integer, "sqlite")


class Tables(DeclarativeBase):
    """All tables. Times are µs of the service clock."""

    type_annotation_map: ClassVar = {int: BigInteger, str: Text, dict[str, Any]: JSON}


class CursorRow(Tables):
    """Up to which batch of which journal `name` has taken everything in."""

    __tablename__ = "cursor"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    journal: Mapped[str]
    batch: Mapped[int]


class Alert(Tables):
    """An alert as its newest change left it, and who took note of it."""

    __tablename__ = "alert"
    __table_args__ = (Index("alert_by_state", "state", "started_us"),)

    episode: Mapped[str] = mapped_column(String(64), primary_key=True)
    rule: Mapped[str]
    site: Mapped[str]
    device: Mapped[str]
    channel: Mapped[str]
    severity: Mapped[str] = mapped_column(String(16))
    audience: Mapped[str] = mapped_column(String(16))
    state: Mapped[AlertState] = mapped_column(String(16))
    started_us: Mapped[int]
    since_us: Mapped[int]
    changed_us: Mapped[int]
    resolved_us: Mapped[int | None]
    text_zh: Mapped[str]
    text_en: Mapped[str]
    evidence: Mapped[dict[str, Any]]
    acknowledged_us: Mapped[int | None]
    acknowledged_by: Mapped[str | None]


class Action(Tables):
    """What a person did about an alert. Rows are added and never changed."""

    __tablename__ = "action"
    __table_args__ = (Index("action_by_episode", "episode", "id"),)

    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    episode: Mapped[str] = mapped_column(ForeignKey("alert.episode"))
    at_us: Mapped[int]
    who: Mapped[str]
    kind: Mapped[ActionKind] = mapped_column(String(16))
    text: Mapped[str]


class Outbox(Tables):
    """A notice to one recipient. `after_id`: goes out only once that one did; `digest_id`: goes
    out as a line of that one."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_by_state", "state", "notifier", "due_us"),
        Index("outbox_by_episode", "episode", "kind"),
        Index("outbox_by_recipient", "notifier", "recipient", "digest_id", "created_us"),
        Index("outbox_by_digest", "digest_id"),
        Index("outbox_by_after", "after_id"),
    )

    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    episode: Mapped[str] = mapped_column(String(64))
    kind: Mapped[NoticeKind] = mapped_column(String(16))
    subscriber: Mapped[str]
    notifier: Mapped[str] = mapped_column(String(64))
    recipient: Mapped[str]
    language: Mapped[Literal["zh", "en"]] = mapped_column(String(2))
    subject: Mapped[str]
    text: Mapped[str]
    severity: Mapped[str] = mapped_column(String(16))
    state: Mapped[NoticeState] = mapped_column(String(16))
    cancelled_because: Mapped[CancelReason] = mapped_column(String(16), default="")
    due_us: Mapped[int]
    attempts: Mapped[int] = mapped_column(default=0)
    lease_until_us: Mapped[int | None]
    lease_by: Mapped[str | None]
    last_error: Mapped[str] = mapped_column(default="")
    created_us: Mapped[int]
    sent_us: Mapped[int | None]
    after_id: Mapped[int | None] = mapped_column(ForeignKey("outbox.id"))
    digest_id: Mapped[int | None] = mapped_column(ForeignKey("outbox.id"))


class Attempt(Tables):
    """One try to send, and what the other side said."""

    __tablename__ = "attempt"
    __table_args__ = (Index("attempt_by_notice", "outbox_id", "id"),)

    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    outbox_id: Mapped[int] = mapped_column(ForeignKey("outbox.id"))
    at_us: Mapped[int]
    outcome: Mapped[Outcome] = mapped_column(String(16))
    code: Mapped[str]
    detail: Mapped[str]
    provider_id: Mapped[str]


def connect(url: str) -> Engine:
    """An engine for the case database as it is; `open_database` also brings it up to date."""
    engine = create_engine(make_url(url))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """One transaction that may write: committed at the end, rolled back on an exception."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One transaction that only reads, and keeps no writer waiting."""
    reader = engine.execution_options(courtyard_reading=True)
    with Session(reader, expire_on_commit=False) as session, session.begin():
        yield session


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # else the driver begins transactions of its own
    for pragma in (
        f"busy_timeout = {BUSY_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # a transaction that reads first and writes later fails at once in WAL, whatever busy_timeout
    reads = connection.get_execution_options().get("courtyard_reading", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
