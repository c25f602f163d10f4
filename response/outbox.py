"""What must be told, to whom, by when: changes of alerts become rows, in their transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ingest.changes import Change
from ingest.clock import US_PER_S
from ingest.registry import Registry
from response import wording
from response.alerts import record
from response.db import Alert, Attempt, CancelReason, NoticeKind, Outbox
from response.subscribers import Subscriber


@dataclass(frozen=True, slots=True)
class Telling:
    """Limits, on the service clock. An alert of more than `late_s` ago is told as late, and only
    after `settle_s`, so that its end, if it stands in the same backlog, is seen first. A recipient
    gets at most `per_hour` notices below urgent in an hour; what is more goes into one digest,
    `digest_s` after its first line. A backlog holds late notices up for `hold_s` at most."""

    late_s: float = 3_600.0
    settle_s: float = 30.0
    hold_s: float = 600.0
    per_hour: int = 30
    digest_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Public:
    """Those who are told, the site as they know it, and the limits."""

    subscribers: tuple[Subscriber, ...]
    registry: Registry
    telling: Telling = Telling()

    def of(self, change: Change) -> list[Subscriber]:
        device = self.registry.devices.get(change.device)
        building = device.building if device else ""
        return [entry for entry in self.subscribers if entry.wants(change.severity, building)]


def take_in(session: Session, changes: Sequence[Change], public: Public, now_us: int) -> int:
    """Records the changes and what is to be told of them; returns the number of new notices.
    Taking the same changes in again does nothing."""
    return sum(_take_in(session, change, public, now_us) for change in changes)


def _take_in(session: Session, change: Change, public: Public, now_us: int) -> int:
    alert, new = record(session, change)
    if change.audience == "review":
        return 0
    if change.state == "firing":
        return _tell_firing(session, alert, change, public, now_us)
    if change.state == "resolved":
        if new and _late_s(change, public, now_us):
            return _tell_missed(session, change, public, now_us)
        return _tell_resolved(session, change, public, now_us)
    return 0


def _tell_firing(
    session: Session, alert: Alert, change: Change, public: Public, now_us: int
) -> int:
    if alert.state == "resolved":
        return 0
    delay_s = _late_s(change, public, now_us)
    told = 0
    for subscriber in public.of(change):
        notice = _notice(change, "firing", subscriber, public, now_us, delay_s)
        if _known(session, notice.key):
            continue
        if delay_s:
            notice.due_us += int(public.telling.settle_s * US_PER_S)
        if alert.acknowledged_us is not None:
            notice.state, notice.cancelled_because = "cancelled", "acknowledged"
        told += _add(session, notice, public.telling, now_us)
    return told


def _tell_resolved(session: Session, change: Change, public: Public, now_us: int) -> int:
    """Tells those who were told of the firing, or are just being told; nobody else."""
    query = select(Outbox).where(Outbox.episode == change.episode, Outbox.kind == "firing")
    told = 0
    for row in session.scalars(query.order_by(Outbox.id).with_for_update()).all():
        if row.state == "waiting":
            cancel(session, row, "resolved")
            if _was_late(row, change, public):
                told += _fold_missed(session, change, _as_subscriber(row), public, now_us)
        if row.state in {"sent", "leased"} or may_have_gone_out(session, row):
            told += _tell_end(session, row, change, public, now_us)
    return told


def _tell_end(
    session: Session, beginning: Outbox, change: Change, public: Public, now_us: int
) -> int:
    delay_s = _late_s(change, public, now_us)
    to = _as_subscriber(beginning)
    notice = _notice(change, "resolved", to, public, now_us, delay_s)
    if _known(session, notice.key):
        return 0
    if beginning.state == "leased":
        notice.after_id = beginning.id
    return _add(session, notice, public.telling, now_us)


def _tell_missed(session: Session, change: Change, public: Public, now_us: int) -> int:
    folded = [_fold_missed(session, change, entry, public, now_us) for entry in public.of(change)]
    return sum(folded)


def _fold_missed(
    session: Session, change: Change, subscriber: Subscriber, public: Public, now_us: int
) -> int:
    notice = _notice(change, "missed", subscriber, public, now_us, 0.0)
    if _known(session, notice.key):
        return 0
    notice.subject = wording.missed(change, public.registry, subscriber.language)
    _fold(session, notice, public.telling, now_us)
    return 1


def _notice(
    change: Change,
    kind: NoticeKind,
    to: Subscriber,
    public: Public,
    now_us: int,
    delay_s: float,
) -> Outbox:
    return Outbox(
        key=f"{change.episode}|{kind}|{to.name}|{to.notifier}",
        episode=change.episode,
        kind=kind,
        subscriber=to.name,
        notifier=to.notifier,
        recipient=to.address,
        language=to.language,
        subject=wording.subject(change, public.registry, to.language),
        text=wording.text(change, public.registry, to.language, delay_s),
        severity=change.severity,
        state="waiting",
        cancelled_because="",
        due_us=now_us,
        attempts=0,
        last_error="",
        created_us=now_us,
    )


def _add(session: Session, notice: Outbox, telling: Telling, now_us: int) -> int:
    if notice.state == "waiting" and _over_limit(session, notice, telling, now_us):
        _fold(session, notice, telling, now_us)
    else:
        session.add(notice)
        session.flush()
    return 1


def _over_limit(session: Session, notice: Outbox, telling: Telling, now_us: int) -> bool:
    if notice.severity == "urgent":
        return False
    query = select(Outbox.id).where(
        Outbox.notifier == notice.notifier,
        Outbox.recipient == notice.recipient,
        Outbox.digest_id.is_(None),
        Outbox.created_us > now_us - 3_600 * US_PER_S,
        Outbox.state != "cancelled",
        Outbox.kind.in_(("firing", "resolved")),
    )
    return len(session.scalars(query.limit(telling.per_hour)).all()) >= telling.per_hour


def _fold(session: Session, notice: Outbox, telling: Telling, now_us: int) -> None:
    """Makes `notice` a line of the recipient's digest that is still open, or of a new one."""
    query = select(Outbox).where(
        Outbox.notifier == notice.notifier,
        Outbox.recipient == notice.recipient,
        Outbox.subscriber == notice.subscriber,
        Outbox.language == notice.language,
        Outbox.kind == "digest",
        Outbox.state == "waiting",
        Outbox.attempts == 0,
    )
    whole = session.scalars(query.order_by(Outbox.id.desc()).limit(1)).first()
    if whole is None:
        whole = _digest_for(notice, telling, now_us)
        session.add(whole)
        session.flush()
    notice.digest_id = whole.id
    session.add(notice)
    session.flush()


def _digest_for(notice: Outbox, telling: Telling, now_us: int) -> Outbox:
    """Its text is written when it goes out: until then lines may come and go."""
    return Outbox(
        key=f"digest|{notice.key}",
        episode="",
        kind="digest",
        subscriber=notice.subscriber,
        notifier=notice.notifier,
        recipient=notice.recipient,
        language=notice.language,
        subject="",
        text="",
        severity=notice.severity,
        state="waiting",
        cancelled_because="",
        due_us=now_us + int(telling.digest_s * US_PER_S),
        attempts=0,
        last_error="",
        created_us=now_us,
    )


def hold_late(session: Session, telling: Telling, now_us: int) -> bool:
    """Holds late firing notices back for another moment, as more of the backlog is to be read;
    whether there are any."""
    until_us = now_us + int(telling.settle_s * US_PER_S)
    held = (
        update(Outbox)
        .where(
            Outbox.state == "waiting",
            Outbox.kind == "firing",
            Outbox.attempts == 0,
            Outbox.digest_id.is_(None),
            Outbox.due_us > Outbox.created_us,  # which is so of late ones only
            Outbox.due_us <= until_us,
            Outbox.created_us > now_us - int(telling.hold_s * US_PER_S),
        )
        .values(due_us=until_us)
        .returning(Outbox.id)
    )
    return bool(session.scalars(held).all())


def cancel(session: Session, row: Outbox, because: CancelReason) -> None:
    """`row` will not go out, nor what comes after it; but where a try of it ended unknown, it
    may have gone out, and then what comes after it does."""
    gone = may_have_gone_out(session, row)
    row.state, row.cancelled_because = "cancelled", "lost_track" if gone else because
    row.lease_until_us = row.lease_by = None
    settle_followers(session, row, gone)


def settle_followers(session: Session, row: Outbox, gone: bool) -> None:
    """Lets go out what comes after `row`, if that has `gone` out, or cancels it."""
    session.flush()
    followers = update(Outbox).where(Outbox.after_id == row.id, Outbox.state == "waiting")
    if gone:
        session.execute(followers.values(after_id=None))
    else:
        session.execute(followers.values(state="cancelled", cancelled_because="never_told"))


def may_have_gone_out(session: Session, row: Outbox) -> bool:
    """Whether a dispatcher was lost between taking `row` and saying what became of it."""
    query = select(Attempt.id).where(Attempt.outbox_id == row.id, Attempt.outcome == "unknown")
    return session.scalars(query.limit(1)).first() is not None


def _known(session: Session, key: str) -> bool:
    return session.scalars(select(Outbox.id).where(Outbox.key == key)).first() is not None


def _late_s(change: Change, public: Public, now_us: int) -> float:
    """By how many seconds the news is late, 0.0 if that is within the limit."""
    delay_s = (now_us - change.at_us) / US_PER_S
    return delay_s if delay_s > public.telling.late_s else 0.0


def _was_late(row: Outbox, change: Change, public: Public) -> bool:
    return (row.created_us - change.started_us) / US_PER_S > public.telling.late_s


def _as_subscriber(row: Outbox) -> Subscriber:
    return Subscriber(row.subscriber, row.notifier, row.recipient, row.language)
