"""The trend of a device's series: which one, for how long, with levels and alarm marks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from api.cards import text_of
from api.charts import NARROW, WIDE, Line, Mark, trend
from api.desk import Desk
from api.follower import Alert
from api.history import step_for, steps_of
from api.levels import levels_of, references_of
from api.problems import ProblemError
from api.render import Reader
from api.views import number_shown, unit_shown
from ingest.clock import US_PER_S
from ingest.metrics import CATALOGUE
from ingest.readings import Series
from ingest.registry import Device, Text
from ingest.store import Buckets

RANGES_S = {"1h": 3_600, "24h": 86_400, "7d": 7 * 86_400}
POINTS = 240
ROWS = 24
MARKS = 30

FIRST = ("pressure", "power.active", "level", "flow", "temperature", "image.luma")
"""What a device page shows when nothing was chosen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A series that can be shown: `word` goes into the address."""

    word: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a trend as a table."""

    time: str
    low: str
    mean: str
    high: str


@dataclass(frozen=True, slots=True)
class Trend:
    """A trend as it is shown. `problem` says why there is no drawing."""

    choices: tuple[Choice, ...]
    show: str
    span: str
    unit: str
    drawings: tuple[Markup, ...] = ()
    rows: tuple[Row, ...] = ()
    problem: str = ""


def trend_of(desk: Desk, reader: Reader, device: Device, show: str, span: str) -> Trend:
    """`show` is channel/metric; one that the device does not have is as none."""
    span = span if span in RANGES_S else "24h"
    known = [desk.view.series[k] for k in desk.view.known(device.id)]
    series = _chosen(known, show)
    choices = tuple(Choice(_word(s), _label(reader, s), s == series) for s in known)
    if series is None:
        return Trend(choices, "", span, "", problem=reader.say("device.values.none"))
    until_us = desk.now_us()
    since_us = until_us - RANGES_S[span] * US_PER_S
    unit = unit_shown(CATALOGUE[series.metric].unit)
    try:
        found = _buckets(desk, device, series, since_us, until_us)
    except ProblemError as error:
        why = reader.say("device.trend.down", why=error.detail)
        return Trend(choices, _word(series), span, unit, problem=why)
    if not found.count.any():
        empty = reader.say("device.trend.none")
        return Trend(choices, _word(series), span, unit, problem=empty)
    label = reader.say(
        "device.trend.label",
        name=reader.pick(device.name),
        metric=_label(reader, series),
        range=reader.say(f"range.{span}"),
    )
    lines = _lines(desk, reader, device, series)
    marks = _marks(desk, reader, series, since_us)
    step_us = step_for(until_us - since_us, POINTS)
    pace_us = int((device.interval_s or device.kind.interval_s) * US_PER_S)
    drawings = tuple(
        trend(
            found,
            since_us,
            until_us,
            size=size,
            zone=reader.zone,
            unit=unit,
            label=label,
            gap_us=3 * max(step_us, pace_us),
            lines=lines,
            marks=marks,
        )
        for size in (NARROW, WIDE)
    )
    return Trend(choices, _word(series), span, unit, drawings, _rows(reader, found))


def _lines(desk: Desk, reader: Reader, device: Device, series: Series) -> list[Line]:
    """The levels at which rules change their mind, and the device's own numbers in that unit."""
    lines = [
        Line(value, f"{reader.say(f'severity.{severity}')} {number_shown(value)}", severity)
        for value, severity in levels_of(desk.parts.rulebook_rules, device, series)
    ]
    drawn = {line.value for line in lines}
    for word, value in references_of(desk.parts.rulebook_rules, device, series):
        if value not in drawn:
            known = device.kind.parameters[word]
            name = reader.pick(Text(known.zh, known.en))
            lines.append(Line(value, f"{name} {number_shown(value)}", "reference"))
    return lines


def _chosen(known: list[Series], show: str) -> Series | None:
    channel, _, metric = show.partition("/")
    for series in known:
        if (series.channel, series.metric) == (channel, metric):
            return series
    ranked = sorted(known, key=lambda s: FIRST.index(s.metric) if s.metric in FIRST else 99)
    return ranked[0] if ranked else None


def _word(series: Series) -> str:
    return f"{series.channel}/{series.metric}"


def _label(reader: Reader, series: Series) -> str:
    metric = reader.metric(series.metric)
    return metric if series.channel == "main" else f"{series.channel} {metric}"


def _buckets(desk: Desk, device: Device, series: Series, since_us: int, until_us: int) -> Buckets:
    step_us = step_for(until_us - since_us, POINTS)
    return steps_of(
        desk.parts, device.id, series.channel, series.metric, since_us, until_us, step_us
    )


def _marks(desk: Desk, reader: Reader, series: Series, since_us: int) -> list[Mark]:
    """The alerts of that channel, and those of the device as a whole."""
    ours = [
        alert
        for alert in desk.view.alerts.values()
        if alert.change.device == series.device
        and alert.change.channel in (series.channel, "main")
        and (alert.resolved_us or 2**62) >= since_us
    ]
    newest = sorted(ours, key=lambda a: -a.change.started_us)[:MARKS]
    return [_mark(desk, reader, alert) for alert in newest]


def _mark(desk: Desk, reader: Reader, alert: Alert) -> Mark:
    change = alert.change
    severity = reader.say(f"severity.{change.severity}")
    return Mark(
        change.started_us,
        alert.resolved_us,
        change.severity,
        f"{reader.when(change.started_us)} {severity} {text_of(reader, change)}",
        desk.pages.path(f"/alerts/{change.episode}"),
    )


def _rows(reader: Reader, found: Buckets) -> tuple[Row, ...]:
    """At most ROWS lines, newest first, evenly picked."""
    kept = np.flatnonzero(found.count)[::-1]
    picked = kept[:: max(1, -(-len(kept) // ROWS))]
    return tuple(
        Row(
            reader.when(int(found.start_us[k])),
            number_shown(float(found.low[k])),
            number_shown(float(found.mean[k])),
            number_shown(float(found.high[k])),
        )
        for k in picked.tolist()
    )
