"""The alerts as response knows them: each change of the journal brings its row up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ingest.changes import Audience, Change, Severity
from ingest.inputs import Json
from response.db import Alert, AlertState, reading

_STATES: Mapping[str, AlertState] = {
    "firing": "firing",
    "known": "firing",
    "unknown": "unknown",
    "resolved": "resolved",
}


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert, times in µs. `resolved_us` and `acknowledged_us` are None where it is neither."""

    episode: str
    rule: str
    site: str
    device: str
    channel: str
    severity: Severity
    audience: Audience
    state: AlertState
    started_us: int
    since_us: int
    changed_us: int
    resolved_us: int | None
    text_zh: str
    text_en: str
    evidence: Mapping[str, Json]
    acknowledged_us: int | None
    acknowledged_by: str | None


def record(session: Session, change: Change) -> tuple[Alert, bool]:
    """The alert's row as of `change`, and whether it is new. A change that is older than what the
    row holds leaves it as it is. The row is locked until the transaction ends."""
    alert = session.get(Alert, change.episode, with_for_update=True)
    if alert is None:
        alert = Alert(episode=change.episode)
        _copy(alert, change)
        session.add(alert)
        session.flush()
        return alert, True
    if change.at_us >= alert.changed_us:
        _copy(alert, change)
    return alert, False


def _copy(alert: Alert, change: Change) -> None:
    alert.rule = change.rule
    alert.site = change.site
    alert.device = change.device
    alert.channel = change.channel
    alert.severity = change.severity
    alert.audience = change.audience
    alert.state = _STATES[change.state]
    alert.started_us = change.started_us
    alert.since_us = change.since_us
    alert.changed_us = change.at_us
    alert.resolved_us = change.at_us if change.state == "resolved" else None
    alert.text_zh = change.text_zh
    alert.text_en = change.text_en
    alert.evidence = dict(change.evidence)


def ended(alert: Alert, at_us: int) -> Change:
    """The end of an alert of which the journal no longer knows anything."""
    return Change(
        episode=alert.episode,
        rule=alert.rule,
        site=alert.site,
        device=alert.device,
        channel=alert.channel,
        severity=cast(Severity, alert.severity),
        audience=cast(Audience, alert.audience),
        state="resolved",
        at_us=at_us,
        started_us=alert.started_us,
        since_us=alert.since_us,
        text_zh=alert.text_zh,
        text_en=alert.text_en,
        evidence=alert.evidence,
    )


def alert_rows(
    engine: Engine,
    limit: int,
    *,
    open_only: bool = False,
    episodes: Sequence[str] | None = None,
) -> tuple[AlertRow, ...]:
    """At most `limit` alerts, newest first: all, those not resolved, or those named."""
    query = select(Alert).order_by(Alert.started_us.desc(), Alert.episode).limit(limit)
    if open_only:
        query = query.where(Alert.state != "resolved")
    if episodes is not None:
        query = query.where(Alert.episode.in_(episodes))
    with reading(engine) as session:
        return tuple(_row(alert) for alert in session.scalars(query))


def _row(alert: Alert) -> AlertRow:
    return AlertRow(
        episode=alert.episode,
        rule=alert.rule,
        site=alert.site,
        device=alert.device,
        channel=alert.channel,
        severity=cast(Severity, alert.severity),
        audience=cast(Audience, alert.audience),
        state=alert.state,
        started_us=alert.started_us,
        since_us=alert.since_us,
        changed_us=alert.changed_us,
        resolved_us=alert.resolved_us,
        text_zh=alert.text_zh,
        text_en=alert.text_en,
        evidence=alert.evidence,
        acknowledged_us=alert.acknowledged_us,
        acknowledged_by=alert.acknowledged_by,
    )
