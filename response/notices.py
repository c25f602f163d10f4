"""What the outbox holds, for people to see, and sending a dead notice again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from ingest.clock import US_PER_S
from response.db import (
    Alert,
    Attempt,
    CancelReason,
    NoticeKind,
    NoticeState,
    Outbox,
    Outcome,
    reading,
    writing,
)


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A notice, times in µs. `last_error` is the reason of a dead one, and why the last try
    failed of one that waits."""

    id: int
    key: str
    episode: str
    kind: NoticeKind
    subscriber: str
    notifier: str
    recipient: str
    language: Literal["zh", "en"]
    subject: str
    text: str
    severity: str
    state: NoticeState
    cancelled_because: CancelReason
    due_us: int
    attempts: int
    last_error: str
    created_us: int
    sent_us: int | None
    digest_id: int | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try to send."""

    at_us: int
    outcome: Outcome
    code: str
    detail: str
    provider_id: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many notices are in each state, and for how long the oldest that is due has waited."""

    waiting: int
    leased: int
    sent: int
    dead: int
    cancelled: int
    oldest_age_s: float


def notices(
    engine: Engine, limit: int, state: NoticeState | None = None, episode: str | None = None
) -> tuple[NoticeRow, ...]:
    """At most `limit` notices, newest first."""
    query = select(Outbox).order_by(Outbox.id.desc()).limit(limit)
    if state is not None:
        query = query.where(Outbox.state == state)
    if episode is not None:
        query = query.where(Outbox.episode == episode)
    with reading(engine) as session:
        return tuple(_row(row) for row in session.scalars(query))


def attempts_of(engine: Engine, outbox_id: int) -> tuple[AttemptRow, ...]:
    """All tries of a notice, oldest first. Those of a line of a digest are with the digest."""
    with reading(engine) as session:
        query = select(Attempt).where(Attempt.outbox_id == outbox_id).order_by(Attempt.id)
        return tuple(
            AttemptRow(entry.at_us, entry.outcome, entry.code, entry.detail, entry.provider_id)
            for entry in session.scalars(query)
        )


def counts(engine: Engine, now_us: int) -> Counts:
    by_state = select(Outbox.state, func.count()).group_by(Outbox.state)
    oldest = select(func.min(Outbox.created_us)).where(
        Outbox.state.in_(("waiting", "leased")), Outbox.due_us <= now_us
    )
    with reading(engine) as session:
        found = dict(session.execute(by_state).all())
        oldest_us = session.scalars(oldest).one()
    return Counts(
        waiting=found.get("waiting", 0),
        leased=found.get("leased", 0),
        sent=found.get("sent", 0),
        dead=found.get("dead", 0),
        cancelled=found.get("cancelled", 0),
        oldest_age_s=0.0 if oldest_us is None else max(0.0, (now_us - oldest_us) / US_PER_S),
    )


def resend(engine: Engine, outbox_id: int, now_us: int) -> None:
    """Puts a dead notice back, with all its tries before it. LookupError: there is none of that
    number; ValueError: it is not dead, or its alert need no longer be told."""
    with writing(engine) as session:
        row = session.get(Outbox, outbox_id, with_for_update=True)
        if row is None:
            raise LookupError(f"no notice {outbox_id}")
        if row.state != "dead":
            raise ValueError(f"notice {outbox_id} is {row.state}, only a dead one is sent again")
        _refuse_if_over(session, row)
        row.digest_id = None  # a line of a digest goes out alone
        lines = select(Outbox).where(Outbox.digest_id == row.id, Outbox.state == "dead")
        for entry in (row, *session.scalars(lines)):
            entry.state, entry.due_us, entry.attempts = "waiting", now_us, 0


def _refuse_if_over(session: Session, row: Outbox) -> None:
    alert = session.get(Alert, row.episode) if row.kind == "firing" else None
    if alert is not None and alert.state == "resolved":
        raise ValueError(f"notice {row.id}: its alert {row.episode} is resolved meanwhile")
    if alert is not None and alert.acknowledged_us is not None:
        raise ValueError(f"notice {row.id}: {alert.acknowledged_by} has acknowledged its alert")


def prune(engine: Engine, before_us: int, limit: int = 1_000) -> int:
    """Deletes at most `limit` notices, with their tries, that were done with before `before_us`;
    returns how many. Alerts and what people did about them stay."""
    leads = select(Outbox.after_id).where(Outbox.after_id.is_not(None))
    wholes = select(Outbox.digest_id).where(Outbox.digest_id.is_not(None))
    query = (
        select(Outbox.id)
        .where(Outbox.state.in_(("sent", "dead", "cancelled")), Outbox.created_us < before_us)
        .where(Outbox.id.not_in(leads), Outbox.id.not_in(wholes))
        .order_by(Outbox.id)
        .limit(limit)
    )
    with writing(engine) as session:
        old = list(session.scalars(query))
        session.execute(delete(Attempt).where(Attempt.outbox_id.in_(old)))
        session.execute(delete(Outbox).where(Outbox.id.in_(old)))
        return len(old)


def _row(row: Outbox) -> NoticeRow:
    return NoticeRow(
        id=row.id,
        key=row.key,
        episode=row.episode,
        kind=row.kind,
        subscriber=row.subscriber,
        notifier=row.notifier,
        recipient=row.recipient,
        language=row.language,
        subject=row.subject,
        text=row.text,
        severity=row.severity,
        state=row.state,
        cancelled_because=row.cancelled_because,
        due_us=row.due_us,
        attempts=row.attempts,
        last_error=row.last_error,
        created_us=row.created_us,
        sent_us=row.sent_us,
        digest_id=row.digest_id,
    )
