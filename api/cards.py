"""What the pages show of alerts, values, evidence: built here, laid out by the templates."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from api import casework
from api.charts import Tile, plan, short_name, spark
from api.desk import Desk
from api.follower import Alert
from api.render import Reader
from api.views import (
    SYSTEM,
    age_s,
    building_states,
    device_states,
    number_shown,
    place_of,
    severity_rank,
    state_word,
)
from ingest.changes import SEVERITIES, Change
from ingest.clock import parse_us
from ingest.inputs import Json
from ingest.metrics import CATALOGUE
from ingest.registry import Registry
from response.actions import ActionRow, actions_of

OLD_S = 60.0
"""Older than this, what a page shows is not what is."""

CARDS = 60
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
EVIDENCE_ROWS = 40


@dataclass(frozen=True, slots=True)
class Card:
    """An alert in a list."""

    episode: str
    severity: str
    state: str
    text: str
    place: str
    since: str
    taken: str
    can_take: bool
    review: bool


@dataclass(frozen=True, slots=True)
class Strip:
    """The first thing a crew sees: red, amber or green, and why."""

    colour: str
    state: str
    headline: str
    counts: tuple[tuple[str, str], ...]
    taken: int
    age: str
    age_s: float | None
    problem: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A named value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one signal counted for: `share` is of the greatest, in percent, signed."""

    name: str
    value: str
    share: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a rule saw."""

    facts: tuple[Fact, ...]
    parts: tuple[Part, ...]
    curves: tuple[tuple[str, Markup], ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of an alert's history."""

    at_us: int
    at: str
    what: str
    text: str
    state: str


def place(registry: Registry, reader: Reader, device: str) -> str:
    """Building, stairwell and device, as people say it."""
    name, building, stairwell = place_of(registry, device)
    if device == SYSTEM:
        return reader.say("place.system")
    called = reader.pick(name)
    where = spot(registry, reader, building, stairwell)
    known = building and called.startswith(reader.pick(registry.buildings[building].name))
    return called if known or not where else f"{where} · {called}"


def spot(registry: Registry, reader: Reader, building: str, stairwell: int) -> str:
    """Building and stairwell; empty for what stands in none."""
    parts = []
    if building:
        parts.append(reader.pick(registry.buildings[building].name))
    if stairwell:
        parts.append(reader.say("stairwell", n=stairwell))
    return " · ".join(parts)


def in_order(alerts: Iterable[Alert]) -> list[Alert]:
    """Worst first, then newest."""
    return sorted(
        alerts,
        key=lambda a: (severity_rank(a.change.severity), -a.change.started_us, a.change.episode),
    )


def cards(desk: Desk, reader: Reader, alerts: Sequence[Alert]) -> list[Card]:
    """In the order given, at most CARDS. Raises SQLAlchemyError."""
    shown = alerts[:CARDS]
    done = actions_of(desk.parts.cases, [a.change.episode for a in shown])
    registry = desk.parts.registry
    return [_card(registry, reader, a, done[a.change.episode]) for a in shown]


def _card(registry: Registry, reader: Reader, alert: Alert, done: Sequence[ActionRow]) -> Card:
    change = alert.change
    taken = casework.taken_by(done)
    return Card(
        episode=change.episode,
        severity=change.severity,
        state=shown_state(alert),
        text=text_of(reader, change),
        place=place(registry, reader, change.device),
        since=_since(reader, alert),
        taken=""
        if taken is None
        else reader.say("acked", who=taken.who, at=reader.when(taken.at_us)),
        can_take=taken is None and alert.open,
        review=change.audience == "review",
    )


def text_of(reader: Reader, change: Change) -> str:
    return change.text_zh if reader.language == "zh" else change.text_en


def shown_state(alert: Alert) -> str:
    if alert.resolved_us is not None:
        return "resolved"
    return "unknown" if alert.change.state == "unknown" else "firing"


def _since(reader: Reader, alert: Alert) -> str:
    since_us = alert.change.since_us
    if alert.resolved_us is not None:
        lasted = reader.lasting((alert.resolved_us - since_us) / 1e6)
        return reader.say("lasted", at=reader.when(since_us), ago=lasted)
    return reader.say("since", at=reader.when(since_us), ago=reader.ago(since_us))


def open_alerts(desk: Desk, audience: str) -> list[Alert]:
    return in_order(
        a for a in desk.view.alerts.values() if a.open and a.change.audience == audience
    )


def closed_alerts(desk: Desk, limit: int = 10) -> list[Alert]:
    closed = [a for a in desk.view.alerts.values() if not a.open and a.change.audience == "people"]
    return sorted(closed, key=lambda a: a.resolved_us or 0, reverse=True)[:limit]


def strip(desk: Desk, reader: Reader) -> Strip:
    """Raises SQLAlchemyError."""
    alerts = open_alerts(desk, "people")
    waiting = _waiting(desk, alerts)
    by_severity = Counter(a.change.severity for a in alerts)
    age = age_s(desk.view, desk.parts.clock)
    old = age is None or age > OLD_S
    red = any(a.change.severity in ("urgent", "serious") for a in waiting)
    colour = "red" if red else "amber" if alerts or old else "green"
    return Strip(
        colour=colour,
        state=alerts[0].change.severity if alerts else "silent" if old else "ok",
        headline=_headline(reader, colour, len(waiting), len(alerts)),
        counts=tuple(
            (s, reader.say("strip.count", word=reader.say(f"severity.{s}"), n=by_severity[s]))
            for s in SEVERITIES
            if by_severity[s]
        ),
        taken=len(alerts) - len(waiting),
        age=reader.say("age.none") if age is None else reader.say("age", n=round(age)),
        age_s=age,
        problem=reader.say("journal.down") if desk.follower.problem else "",
    )


def _waiting(desk: Desk, alerts: Sequence[Alert]) -> list[Alert]:
    """The alerts that nobody has taken yet."""
    done = actions_of(desk.parts.cases, [a.change.episode for a in alerts[:1_000]])
    return [a for a in alerts if casework.taken_by(done.get(a.change.episode, ())) is None]


def _headline(reader: Reader, colour: str, n: int, n_open: int) -> str:
    if colour == "green":
        return reader.say("strip.green")
    if n == 0:
        return reader.say("strip.taken.all" if n_open else "strip.blind")
    return reader.say(f"strip.{colour}.one" if n == 1 else f"strip.{colour}", n=n)


def plan_of(desk: Desk, reader: Reader) -> Markup:
    """The buildings with their states and counts of open alerts."""
    registry = desk.parts.registry
    devices = registry.devices
    states = building_states(registry, device_states(desk.view, devices.values(), desk.now_us()))
    counted = Counter(
        devices[a.change.device].building
        for a in open_alerts(desk, "people")
        if a.change.device in devices
    )
    tiles = []
    for building in registry.buildings.values():
        state, n = states[building.id], counted[building.id]
        name = reader.pick(building.name)
        label = reader.say("plan.tile", name=name, state=state_name(reader, state), n=n)
        href = desk.pages.path(f"/buildings/{building.id}")
        short = short_name(name, building.id)
        tiles.append(Tile(building, href, short, label, state, n))
    return plan(tiles, reader.say("plan.label", site=reader.pick(registry.name)))


def state_name(reader: Reader, state: str) -> str:
    """A device's or building's state in words."""
    return reader.say(f"severity.{state}" if state in SEVERITIES else f"state.{state}")


def history_of(reader: Reader, alert: Alert, done: Sequence[ActionRow]) -> list[Moment]:
    """What happened to an alert, oldest first: its changes, and what people did."""
    change = alert.change
    steps = {(step.at_us, step.state) for step in alert.steps}
    steps.add((change.started_us, "firing"))
    if alert.resolved_us is not None:
        steps.add((alert.resolved_us, "resolved"))
    moments = [Moment(change.since_us, "", reader.say("step.began"), "", "began")]
    moments += [Moment(at_us, "", reader.say(f"step.{s}"), "", s) for at_us, s in steps]
    moments += [
        Moment(row.at_us, "", reader.say(f"step.{row.kind}", who=row.who), row.text, row.kind)
        for row in done
    ]
    ordered = sorted(moments, key=lambda m: m.at_us)
    return [Moment(m.at_us, reader.when_exactly(m.at_us), m.what, m.text, m.state) for m in ordered]


def evidence_of(reader: Reader, evidence: Mapping[str, Json]) -> Evidence:
    """A rule's evidence: plain values, contributions, and lists of numbers as curves."""
    facts, curves = [], []
    parts: tuple[Part, ...] = ()
    for name, value in evidence.items():
        if name == "since":  # it stands among the facts already
            continue
        if name in ("contributions", "likelihood_ratios"):
            parts = _contributions(reader, value, ratios=name == "likelihood_ratios")
        elif numbers := _curve(value):
            told = reader.evidence(name)
            curves.append((told, spark(numbers, reader.say("alert.curve", name=told))))
        else:
            facts += _facts(reader, name, value)
    return Evidence(tuple(facts[:EVIDENCE_ROWS]), parts, tuple(curves[:6]))


def _contributions(reader: Reader, value: Json, *, ratios: bool) -> tuple[Part, ...]:
    """From {name: number}, greatest first. Ratios count by their logarithm: 1 says nothing."""
    pairs = value.items() if isinstance(value, dict) else ()
    found = [(k, float(v)) for k, v in pairs if isinstance(v, int | float)]
    weights = {k: math.log(max(v, 1e-9)) if ratios else v for k, v in found}
    most = max((abs(w) for w in weights.values()), default=0.0) or 1.0
    found.sort(key=lambda pair: -abs(weights[pair[0]]))
    mark = "× " if ratios else ""
    return tuple(
        Part(reader.evidence(k), mark + number_shown(v), round(100 * weights[k] / most))
        for k, v in found[:20]
    )


def _curve(value: Json) -> list[float]:
    """The numbers of a list that is long enough to be worth a drawing."""
    if not isinstance(value, list) or len(value) < 8:
        return []
    numbers = [float(v) if isinstance(v, int | float) else float("nan") for v in value[:2_000]]
    known = sum(v == v for v in numbers)
    return numbers if known >= 4 and known * 2 >= len(numbers) else []


def _facts(reader: Reader, name: str, value: Json) -> list[Fact]:
    if isinstance(value, dict):
        return [
            fact for k, v in list(value.items())[:EVIDENCE_ROWS] for fact in _facts(reader, k, v)
        ]
    if isinstance(value, list):
        told = ", ".join(_plain(reader, v) for v in value[:8])
        return [Fact(reader.evidence(name), told + (" …" if len(value) > 8 else ""))]
    if name in CATALOGUE and isinstance(value, int | float):
        number = float(value)
        return [Fact(reader.metric(name), reader.value(name, number, state_word(name, number)))]
    return [Fact(reader.evidence(name), _plain(reader, value))]


def _plain(reader: Reader, value: Json) -> str:
    if isinstance(value, bool):
        return reader.say("yes" if value else "no")
    if isinstance(value, int | float):
        return number_shown(float(value))
    return "–" if value is None else _text(reader, str(value))


def _text(reader: Reader, text: str) -> str:
    """A word of ours in the reader's language, a time on the site's clock, else as it is."""
    if f"evidence.{text}" in reader.words.texts:
        return reader.evidence(text)
    if ISO.fullmatch(text):
        return reader.when_exactly(parse_us(text))
    return text[:200]
