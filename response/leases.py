"""Taking notices out of the outbox to send them, and noting what became of each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, and_, case, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from ingest.changes import SEVERITIES
from response import wording
from response.db import Alert, Attempt, CancelReason, Outbox, Outcome, writing
from response.notifier import Notice, NotifierError, Receipt
from response.outbox import cancel, may_have_gone_out, settle_followers

DETAIL_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Terms:
    """`by` names the dispatcher; `zone` is the time zone in which a digest tells times."""

    by: str
    zone: str
    max_attempts: int


@dataclass(frozen=True, slots=True)
class Leased:
    """A notice that is ours to send; `attempt` counts from 1."""

    id: int
    notice: Notice
    attempt: int
    by: str


def lease(
    engine: Engine, notifier: str, terms: Terms, now_us: int, until_us: int, limit: int
) -> tuple[Leased, ...]:
    """At most `limit` due notices, the most severe first, leased until `until_us`. A lease that
    ran out is taken over: its notice may have gone out, and goes out again."""
    query = (
        select(Outbox)
        .where(_ready(notifier, now_us))
        .order_by(_RANK, Outbox.due_us, Outbox.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Outbox)
    )
    with writing(engine) as session:
        rows = session.scalars(query).all()
        taken = (_take(session, row, terms, now_us, until_us) for row in rows)
        return tuple(leased for leased in taken if leased is not None)


_RANK = case(
    {word: rank for rank, word in enumerate(SEVERITIES)},
    value=Outbox.severity,
    else_=len(SEVERITIES),
)


def _ready(notifier: str, now_us: int) -> ColumnElement[bool]:
    return and_(
        Outbox.notifier == notifier,
        Outbox.digest_id.is_(None),
        or_(
            and_(Outbox.state == "waiting", Outbox.due_us <= now_us),
            and_(Outbox.state == "leased", Outbox.lease_until_us <= now_us),
        ),
        _its_turn(),
    )


def _its_turn() -> ColumnElement[bool]:
    """Whether the notice that it comes after went out."""
    before = aliased(Outbox)
    went_out = exists().where(before.id == Outbox.after_id, before.state == "sent")
    return or_(Outbox.after_id.is_(None), went_out)


def _take(session: Session, row: Outbox, terms: Terms, now_us: int, until_us: int) -> Leased | None:
    if row.state == "leased":
        _note_lost(session, row, now_us)
    if because := _pointless(session, row):
        cancel(session, row, because)
        return None
    if row.attempts >= terms.max_attempts:
        bury(session, row, row.last_error)
        return None
    if row.kind == "digest" and not _write_digest(session, row, terms.zone, now_us):
        cancel(session, row, "empty")
        return None
    return _leased(row) if _compare_and_set(session, row, terms.by, until_us) else None


def _note_lost(session: Session, row: Outbox, now_us: int) -> None:
    lost = f"{row.lease_by} did not come back from try {row.attempts}"
    for entry in (row, *_lines(session, row)):
        session.add(_attempt(entry.id, now_us, "unknown", detail=lost))
        entry.last_error = lost
    session.flush()


def _compare_and_set(session: Session, row: Outbox, by: str, until_us: int) -> bool:
    session.flush()
    taken = session.scalars(
        update(Outbox)
        .where(Outbox.id == row.id, Outbox.state == row.state, Outbox.attempts == row.attempts)
        .values(state="leased", attempts=row.attempts + 1, lease_until_us=until_us, lease_by=by)
        .returning(Outbox.id)
    ).first()
    return taken is not None


def _leased(row: Outbox) -> Leased:
    notice = Notice(
        key=row.key,
        recipient=row.recipient,
        language=row.language,
        subject=row.subject,
        text=row.text,
        episode=row.episode,
        severity=row.severity,
    )
    return Leased(row.id, notice, row.attempts, row.lease_by or "")


def _pointless(session: Session, row: Outbox) -> CancelReason:
    """Why a firing alert need no longer be told, "" if it must."""
    alert = session.get(Alert, row.episode) if row.kind == "firing" else None
    if alert is None:
        return ""
    if alert.state == "resolved":
        return "resolved"
    return "" if alert.acknowledged_us is None else "acknowledged"


def _write_digest(session: Session, row: Outbox, zone: str, now_us: int) -> bool:
    """Takes all lines along that are still worth telling; whether there are any."""
    open_lines = select(Outbox).where(
        Outbox.digest_id == row.id, Outbox.state.in_(("waiting", "leased"))
    )
    lines: list[tuple[int, str]] = []
    for line in session.scalars(open_lines.order_by(Outbox.id)).all():
        if because := _pointless(session, line):
            cancel(session, line, because)
        elif line.after_id is not None and not _went_out(session, line.after_id):
            line.digest_id, line.due_us = None, now_us
        else:
            line.state = "leased"
            lines.append((line.created_us, line.subject))
    row.subject, row.text = wording.digest(lines, zone, row.language)
    return bool(lines)


def _went_out(session: Session, outbox_id: int) -> bool:
    return session.get_one(Outbox, outbox_id).state == "sent"


def mark_sent(engine: Engine, leased: Leased, receipt: Receipt, now_us: int) -> None:
    """What went out went out, even if the lease ran out meanwhile."""
    said = (receipt.status, receipt.detail, receipt.provider_id)
    with writing(engine) as session:
        session.add(_attempt(leased.id, now_us, "sent", *said))
        row = session.get_one(Outbox, leased.id, with_for_update=True)
        for entry in (row, *_lines(session, row)):
            entry.state, entry.sent_us = "sent", now_us
            entry.cancelled_because, entry.last_error = "", ""
            entry.lease_until_us = entry.lease_by = None


def mark_failed(
    engine: Engine, leased: Leased, error: NotifierError, retry_us: int | None, now_us: int
) -> None:
    """Back to the outbox until `retry_us`, or among the dead where it is None. If the lease was
    lost, only the try is recorded: the notice is another's now."""
    detail = str(error)[:DETAIL_LENGTH]
    outcome: Outcome = "dead" if retry_us is None else "retry"
    with writing(engine) as session:
        session.add(_attempt(leased.id, now_us, outcome, error.code, detail))
        row = session.get_one(Outbox, leased.id, with_for_update=True)
        if (row.state, row.lease_by, row.attempts) != ("leased", leased.by, leased.attempt):
            return
        if retry_us is None:
            bury(session, row, detail)
        else:
            _put_back(session, row, detail, retry_us)


def _put_back(session: Session, row: Outbox, detail: str, retry_us: int) -> None:
    for entry in (row, *_lines(session, row)):
        entry.state, entry.last_error, entry.due_us = "waiting", detail, retry_us
        entry.lease_until_us = entry.lease_by = None
        if because := _pointless(session, entry):
            cancel(session, entry, because)


def bury(session: Session, row: Outbox, reason: str) -> None:
    """Among the dead, where a person sees it with its reason and may have it sent again."""
    for entry in (row, *_lines(session, row)):
        entry.state, entry.last_error = "dead", reason
        entry.lease_until_us = entry.lease_by = None
        settle_followers(session, entry, may_have_gone_out(session, entry))


def bury_unreachable(engine: Engine, notifiers: Collection[str]) -> int:
    """Buries what waits for a notifier that is not open: its word left the settings."""
    query = select(Outbox).where(
        Outbox.state.in_(("waiting", "leased")), Outbox.notifier.not_in(notifiers)
    )
    with writing(engine) as session:
        rows = session.scalars(query).all()
        words = ", ".join(sorted(notifiers)) or "none"
        for row in rows:
            bury(session, row, f"no notifier {row.notifier!r} is open; there are: {words}")
        return len(rows)


def _lines(session: Session, row: Outbox) -> list[Outbox]:
    if row.kind != "digest":
        return []
    query = select(Outbox).where(Outbox.digest_id == row.id, Outbox.state == "leased")
    return list(session.scalars(query))


def _attempt(
    outbox_id: int,
    at_us: int,
    outcome: Outcome,
    code: str = "",
    detail: str = "",
    provider_id: str = "",
) -> Attempt:
    return Attempt(
        outbox_id=outbox_id,
        at_us=at_us,
        outcome=outcome,
        code=code,
        detail=detail[:DETAIL_LENGTH],
        provider_id=provider_id,
    )
