"""What people did and what they were told, from the case database, as shapes of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Engine

from api import schemas
from api.follower import Alert, View
from api.problems import ProblemError
from api.views import alert_fields, sorted_alerts
from ingest.changes import Change
from ingest.clock import format_us
from ingest.registry import Registry
from response import actions, notices

Done = Mapping[str, Sequence[actions.ActionRow]]


def alert_shapes(
    registry: Registry, engine: Engine, alerts: Sequence[Alert]
) -> list[schemas.Alert]:
    done = actions.actions_of(engine, [alert.change.episode for alert in alerts])
    return [
        schemas.Alert.model_validate(_fields(registry, alert, done[alert.change.episode]))
        for alert in alerts
    ]


def alert_detail(registry: Registry, engine: Engine, alert: Alert) -> schemas.AlertDetail:
    done = actions.actions_of(engine, [alert.change.episode])[alert.change.episode]
    steps = [
        {"state": step.state, "at": format_us(step.at_us), "severity": step.severity}
        for step in alert.steps
    ]
    fields = _fields(registry, alert, done)
    shown = [action_shape(row) for row in done]
    return schemas.AlertDetail.model_validate({**fields, "steps": steps, "actions": shown})


def _fields(
    registry: Registry, alert: Alert, done: Sequence[actions.ActionRow]
) -> dict[str, object]:
    taken = taken_by(done)
    fields = alert_fields(registry, alert.change)
    if alert.resolved_us is not None:
        fields |= {"state": "resolved", "resolved": format_us(alert.resolved_us)}
    return {**fields, "acknowledged": None if taken is None else action_shape(taken)}


def taken_by(done: Sequence[actions.ActionRow]) -> actions.ActionRow | None:
    """The acknowledgement in force, if there is one."""
    taken = None
    for row in done:
        if row.kind != "comment":
            taken = row if row.kind == "acknowledge" else None
    return taken


def action_shape(row: actions.ActionRow) -> schemas.Action:
    return schemas.Action(kind=row.kind, who=row.who, text=row.text, at=format_us(row.at_us))


def notice_shape(row: notices.NoticeRow) -> schemas.Notice:
    return schemas.Notice(
        key=row.key,
        episode=row.episode,
        recipient=row.recipient,
        notifier=row.notifier,
        language=row.language,
        severity=row.severity,
        subject=row.subject,
        text=row.text,
        kind=row.kind,
        state=row.state,
        attempts=row.attempts,
        due=format_us(row.due_us),
        created=format_us(row.created_us),
        sent=None if row.sent_us is None else format_us(row.sent_us),
        error=row.last_error,
    )


def find_alert(view: View, episode: str) -> Alert:
    """Raises ProblemError 404."""
    alert = view.alerts.get(episode)
    if alert is None:
        raise ProblemError(404, f"no alert {episode!r} among the open and the recent ones")
    return alert


def acknowledge(
    engine: Engine, change: Change, said: schemas.Acknowledge, at_us: int
) -> actions.Acknowledged:
    return actions.acknowledge(engine, change.episode, said.who, at_us, said.comment, known=change)


def comment(engine: Engine, change: Change, said: schemas.Comment, at_us: int) -> None:
    actions.comment(engine, change.episode, said.who, at_us, said.comment, known=change)


def after_cursor(alerts: Sequence[Alert], cursor: str | None) -> list[Alert]:
    """The alerts, newest first, that follow the place which `cursor` names (started_us.episode).
    Raises ProblemError 422."""
    ordered = sorted_alerts(alerts)
    if cursor is None:
        return ordered
    started, dot, episode = cursor.partition(".")
    if not dot or not started.isdecimal():
        raise ProblemError(422, "cursor: give the `next` of the page before, unchanged")
    place = (-int(started), episode)
    return [a for a in ordered if (-a.change.started_us, a.change.episode) > place]


def cursor_of(alert: Alert) -> str:
    return f"{alert.change.started_us}.{alert.change.episode}"
