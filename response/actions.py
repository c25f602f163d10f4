"""What people do about an alert: acknowledge, take that back, comment. All of it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ingest.changes import Change
from response.alerts import record
from response.db import Action, ActionKind, Alert, Outbox, reading, writing
from response.outbox import cancel

TEXT_LENGTH = 4_000


@dataclass(frozen=True, slots=True)
class ActionRow:
    """One thing that a person did, at a time in µs."""

    id: int
    episode: str
    at_us: int
    who: str
    kind: ActionKind
    text: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Who has acknowledged the alert, since when; `cancelled` notices will not go out for it."""

    outcome: Literal["acknowledged", "already"]
    by: str
    at_us: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """`told`: so many notices that the acknowledgement had cancelled go out after all."""

    outcome: Literal["unacknowledged", "was_not"]
    told: int


def acknowledge(
    engine: Engine,
    episode: str,
    who: str,
    at_us: int,
    text: str = "",
    *,
    known: Change | None = None,
) -> Acknowledged:
    """Somebody has seen it. What is not yet sent of its firing is cancelled in the same
    transaction; the news of its end still goes to those who were told of the firing.
    `known`, the alert's newest change in the journal, lets a person be quicker than respond.
    LookupError: no such alert; ValueError: no name, or a text beyond 4,000 characters."""
    _check(who, text)
    with writing(engine) as session:
        alert = _alert(session, episode, known)
        if alert.acknowledged_us is not None:
            return Acknowledged("already", alert.acknowledged_by or "", alert.acknowledged_us, 0)
        alert.acknowledged_us, alert.acknowledged_by = at_us, who
        _add(session, episode, at_us, who, "acknowledge", text)
        return Acknowledged("acknowledged", who, at_us, _cancel_firing(session, episode))


def unacknowledge(
    engine: Engine, episode: str, who: str, at_us: int, text: str = ""
) -> Unacknowledged:
    """Takes the acknowledgement back: while the alert is not resolved, those whom it kept from
    being told are told now. LookupError, ValueError: as for `acknowledge`."""
    _check(who, text)
    with writing(engine) as session:
        alert = _alert(session, episode, None)
        if alert.acknowledged_us is None:
            return Unacknowledged("was_not", 0)
        alert.acknowledged_us = alert.acknowledged_by = None
        _add(session, episode, at_us, who, "unacknowledge", text)
        told = 0 if alert.state == "resolved" else _revive(session, episode, at_us)
        return Unacknowledged("unacknowledged", told)


def comment(
    engine: Engine, episode: str, who: str, at_us: int, text: str, *, known: Change | None = None
) -> ActionRow:
    """LookupError: no such alert; ValueError: no name, or no text, or one too long."""
    _check(who, text)
    if not text.strip():
        raise ValueError("a comment needs a text")
    with writing(engine) as session:
        _alert(session, episode, known)
        return _row(_add(session, episode, at_us, who, "comment", text))


def actions_of(engine: Engine, episodes: Sequence[str]) -> dict[str, tuple[ActionRow, ...]]:
    """What was done about each of these alerts, oldest first; an episode without any has ()."""
    query = select(Action).where(Action.episode.in_(episodes)).order_by(Action.id)
    found: dict[str, list[ActionRow]] = {episode: [] for episode in episodes}
    with reading(engine) as session:
        for action in session.scalars(query):
            found[action.episode].append(_row(action))
    return {episode: tuple(rows) for episode, rows in found.items()}


def _check(who: str, text: str) -> None:
    if not who.strip():
        raise ValueError("who did it? a name is needed")
    if len(text) > TEXT_LENGTH:
        raise ValueError(f"a text of {len(text)} characters; at most {TEXT_LENGTH:,} are kept")


def _alert(session: Session, episode: str, known: Change | None) -> Alert:
    alert = session.get(Alert, episode, with_for_update=True)
    if alert is None and known is not None and known.episode == episode:
        alert, _ = record(session, known)
    if alert is None:
        raise LookupError(f"no alert {episode!r}")
    return alert


def _add(
    session: Session, episode: str, at_us: int, who: str, kind: ActionKind, text: str
) -> Action:
    action = Action(episode=episode, at_us=at_us, who=who, kind=kind, text=text)
    session.add(action)
    session.flush()
    return action


def _cancel_firing(session: Session, episode: str) -> int:
    query = select(Outbox).where(
        Outbox.episode == episode, Outbox.kind == "firing", Outbox.state == "waiting"
    )
    rows = session.scalars(query.with_for_update()).all()
    for row in rows:
        cancel(session, row, "acknowledged")
    return len(rows)


def _revive(session: Session, episode: str, at_us: int) -> int:
    query = select(Outbox).where(
        Outbox.episode == episode,
        Outbox.kind == "firing",
        Outbox.state == "cancelled",
        Outbox.cancelled_because.in_(("acknowledged", "lost_track")),
    )
    rows = session.scalars(query.with_for_update()).all()
    for row in rows:
        row.state, row.cancelled_because = "waiting", ""
        row.due_us, row.attempts, row.digest_id = at_us, 0, None
    return len(rows)


def _row(action: Action) -> ActionRow:
    return ActionRow(action.id, action.episode, action.at_us, action.who, action.kind, action.text)
