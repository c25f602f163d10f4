"""Turns of an alert into changes: who, since when, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from ingest.changes import Audience, Change, ChangeState, Severity
from ingest.clock import format_us
from ingest.inputs import Json
from ingest.registry import Device
from rules.alerts import Turns, by_rule
from rules.expression import parameter_units
from rules.instances import MAIN
from rules.kind import Rows, Scope
from rules.message import fill
from rules.scopes import memory_of, scope_of
from rules.state import Orphan, State, View
from rules.wording import (
    episode_of,
    local_words,
    number_words,
    rounded,
    value_words,
)


def told(state: State, turns: Turns, at_us: int) -> list[Change]:
    """The changes of a grid point, ordered by device, channel and rule."""
    groups: tuple[tuple[ChangeState, Rows], ...] = (
        ("firing", turns.fired),
        ("resolved", turns.resolved),
        ("unknown", turns.lost),
        ("known", turns.found),
    )
    changes = [
        change
        for word, instances in groups
        if len(instances)
        for change in _changes(state, word, instances, at_us)
    ]
    return in_order(changes)


def in_order(changes: Sequence[Change]) -> list[Change]:
    return sorted(changes, key=lambda c: (c.at_us, c.device, c.channel, c.rule, c.site, c.state))


def orphan_changes(orphans: Sequence[Orphan], at_us: int) -> list[Change]:
    """Alerts that end because nobody looks any more, and say so."""
    return [
        Change(
            episode=episode_of(
                orphan.rule, orphan.site, orphan.device, orphan.channel, orphan.started_us
            ),
            rule=orphan.rule,
            site=orphan.site,
            device=orphan.device,
            channel=orphan.channel,
            severity=cast(Severity, orphan.severity),
            audience=cast(Audience, orphan.audience),
            state="resolved",
            at_us=at_us,
            started_us=orphan.started_us,
            since_us=orphan.since_us,
            text_zh="规则或设备已变更，告警关闭",
            text_en="Closed: its rule or device was changed or removed",
            evidence={"since": format_us(orphan.since_us), "reason": "rule_or_device_changed"},
        )
        for orphan in orphans
    ]


def _changes(state: State, word: ChangeState, instances: Rows, at_us: int) -> list[Change]:
    alerts = state.alerts
    changes = []
    ordered, parts = by_rule(alerts, instances)
    for rule, part in parts:
        view = state.views[rule]
        rows = alerts.row[ordered[part]].astype(np.intp)
        scope = scope_of(state, view, view.main, rows, np.full(len(rows), at_us))
        memory = memory_of(view, view.main, rows)
        for at, (row, number) in enumerate(zip(rows.tolist(), ordered[part].tolist(), strict=True)):
            said = view.main.kind.evidence(memory, scope, at)
            changes.append(_change(state, view, word, row, number, at_us, scope, at, said))
    return changes


def _change(
    state: State,
    view: View,
    word: ChangeState,
    row: int,
    number: int,
    at_us: int,
    scope: Scope,
    at: int,
    said: Mapping[str, Json],
) -> Change:
    rule, channel = view.rule, view.channels[row]
    site, device = state.devices.keys[int(view.device[row])]
    since_us = int(state.alerts.fired_since_us[number])
    started_us = int(state.alerts.started_us[number])
    values: dict[str, Json] = {
        metric: None if math.isnan(value) else rounded(float(value))
        for metric, value in zip(view.main.metrics, scope.value[at].tolist(), strict=True)
    }
    words = _words(state, view, row, since_us, scope, at)
    return Change(
        episode=episode_of(rule.id, site, device, channel, started_us),
        rule=rule.id,
        site=site,
        device=device,
        channel=channel,
        severity=rule.severity,
        audience=rule.audience,
        state=word,
        at_us=at_us,
        started_us=started_us,
        since_us=since_us,
        text_zh=fill(rule.message_zh, words | _places(state, view, row, "zh")),
        text_en=fill(rule.message_en, words | _places(state, view, row, "en")),
        evidence={
            "since": format_us(since_us),
            "values": values,
            **{key: rounded(value) for key, value in said.items()},
        },
    )


def _words(
    state: State, view: View, row: int, since_us: int, scope: Scope, at: int
) -> dict[str, str]:
    zone = state.registry.time_zone if state.registry else ""
    words = {
        metric: value_words(metric, value)
        for metric, value in zip(view.main.metrics, scope.value[at].tolist(), strict=True)
    }
    units = parameter_units()
    for name, column in view.main.parameters.items():
        words[f"param.{name}"] = number_words(float(column[row]), units.get(name, "1"))
    words["since"] = local_words(since_us, zone)
    return words


def _places(state: State, view: View, row: int, language: str) -> dict[str, str]:
    """Where it is, said once: not the building beside a name that says it, nor a main channel."""
    number = int(view.device[row])
    device: Device = state.devices.known[number]
    buildings = state.registry.buildings if state.registry else {}
    found = buildings.get(device.building)
    building = getattr(found.name, language) if found else device.building
    name, channel = getattr(device.name, language), view.channels[row]
    template = view.rule.message_zh if language == "zh" else view.rule.message_en
    said = building in name and "{device}" in template and "{stairwell}" not in template
    return {
        "site": state.devices.keys[number][0],
        "building": "" if said else building,
        "stairwell": str(device.stairwell) if device.stairwell else "",
        "device": name,
        "channel": "" if channel == MAIN else channel,
        "rule": view.rule.id,
    }
