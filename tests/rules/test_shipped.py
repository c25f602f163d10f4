"""Cases of the shipped rules, readable by an operator: series in, alerts out at given times."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from ingest.clock import US_PER_S, parse_duration_s, parse_us
from ingest.inputs import Event, Inputs
from ingest.metrics import CATALOGUE, state_number
from ingest.readings import Readings, Series
from ingest.registry import Building, Device, Principal, Registry, Text
from ingest.shelf import shelf_words
from rules.engine import start, step
from rules.rulebook import shipped_rulebook

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
BEGIN_US = parse_us("2026-11-24T19:00:00Z")
SHIPPED = shipped_rulebook()
RULES = {rule.id: rule for rule in SHIPPED.rules}
ABOUT = {"rule", "on", "every", "cases"}


Between = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """`series` maps channel and metric to compact values; `alerts` are between which seconds it is
    to fire and to resolve (None: it is still firing at the end)."""

    rule: str
    device: Mapping[str, Any]
    every_s: int
    series: Mapping[str, str]
    alerts: list[tuple[Between, Between | None]]
    until_s: int
    sightings: list[tuple[str, int, int]]


def read_cases() -> Iterator[Any]:
    for file in CASES:
        for entry in YAML(typ="safe").load(file):
            assert set(entry) <= ABOUT, f"{file.name}: {set(entry) - ABOUT}"
            for row, told in enumerate(entry["cases"]):
                name = f"{entry['rule']}-{row}-{told['why'].replace(' ', '_')}"
                yield pytest.param(case_of(entry, told), id=name)


def case_of(entry: Mapping[str, Any], told: Mapping[str, Any]) -> Case:
    every_s = parse_duration_s(told.get("every", entry["every"]))
    series = {key: text for key, text in told.items() if " " in key}
    longest = max((len(values_of(key, text)) for key, text in series.items()), default=0)
    until = told.get("until")
    return Case(
        rule=entry["rule"],
        device={**entry["on"], **told.get("on", {})},
        every_s=every_s,
        series=series,
        alerts=[_span(text) for text in told["alerts"]],
        until_s=parse_duration_s(until) if until else longest * every_s,
        sightings=[_sighting(text) for text in told.get("sees", [])],
    )


def values_of(key: str, text: str) -> list[float]:
    """`340*6` is six times 340, `60+2*10` rises by 2 with each of ten readings, `_*3` is three
    readings that do not come; states are given by their words."""
    metric = CATALOGUE[key.split(" ")[1]]
    values: list[float] = []
    for part in str(text).split():
        match = re.fullmatch(r"(_|-?[\d.]+|[a-z]+)([+-][\d.]+)?\*(\d+)", part)
        assert match, f"{key}: {part!r} is not VALUE[+STEP]*COUNT"
        word, step_text, count = match.groups()
        first = float("nan") if word == "_" else state_number(metric, word)
        first = float(word) if first is None else first
        values += [first + n * float(step_text or 0) for n in range(int(count))]
    return values


def _span(text: str) -> tuple[Between, Between | None]:
    """`3m..5m`, `3m..` while it goes on, `3m-4m..` where it may begin at any time between."""
    began, _, ended = text.partition("..")
    return _between(began), _between(ended) if ended else None


def _between(text: str) -> Between:
    early, _, late = text.partition("-")
    return parse_duration_s(early), parse_duration_s(late or early)


def _sighting(text: str) -> tuple[str, int, int]:
    kind, span = text.split(" ")
    (began, _), ended = _span(span)
    assert ended is not None
    return kind, began, ended[1]


def registry_of(case: Case) -> Registry:
    device = Device(
        id="it",
        type=case.device["type"],
        principal="it",
        name=Text("它", "it"),
        building="b1",
        stairwell=1,
        tags=frozenset(case.device.get("tags", ())),
        params=case.device.get("params", {}),
    )
    eye = Device(id="eye", type="camera", principal="eye", name=Text("眼", "eye"), building="b1")
    place = Building("b1", Text("1号楼", "Building 1"), 40, 2, (0.0, 0.0))
    return Registry(
        site="s",
        name=Text("小区", "Site"),
        time_zone="Asia/Shanghai",
        households=40,
        buildings={"b1": place},
        devices={"it": device, "eye": dataclasses.replace(eye, stairwell=1)},
        principals={name: Principal(name, ("native",)) for name in ("it", "eye")},
        version="1",
    )


def inputs_of(case: Case) -> Inputs:
    """All in one batch: how the engine's input is cut changes nothing."""
    series = [Series("s", "it", *key.split(" ")) for key in case.series]
    parts = [Readings.empty()]
    for number, (key, text) in enumerate(case.series.items()):
        value = np.array(values_of(key, text))
        time_us = BEGIN_US + np.arange(len(value), dtype=np.int64) * case.every_s * US_PER_S
        there = ~np.isnan(value)
        n = int(there.sum())
        rows = (time_us[there], time_us[there], np.full(n, number, np.int32), value[there])
        parts.append(Readings(*rows, np.zeros(n, np.uint16)))
    events = [event for sighting in case.sightings for event in _events(*sighting)]
    rows_all = Readings.concat(parts)
    ordered = rows_all.take(np.argsort(rows_all.arrival_us, kind="stable"))
    return Inputs(ordered, events=tuple(events), new_series=tuple(series))


def _events(kind: str, began_s: int, ended_s: int) -> list[Event]:
    """A camera tells of a sighting when it begins, every half minute, and when it ends."""
    times = [*range(began_s, ended_s, 30), ended_s]
    phases = ["start", *["update"] * (len(times) - 2), "end"]
    return [
        Event("s", "eye", "zone.facade", kind, f"{kind}-{began_s}", phase, at_us, at_us)  # type: ignore[arg-type]
        for phase, at_us in zip(phases, (BEGIN_US + s * US_PER_S for s in times), strict=True)
    ]


def alerts_of(case: Case) -> list[tuple[int, int | None]]:
    """Seconds of firing and resolving of the case's rule alone, in order."""
    book = dataclasses.replace(SHIPPED, rules=(RULES[case.rule],))
    state = start(book, registry_of(case), BEGIN_US - US_PER_S)
    _, changes = step(state, inputs_of(case), BEGIN_US + case.until_s * US_PER_S)
    spans: dict[str, tuple[int, int | None]] = {}
    for change in (change for change in changes if change.device == "it"):
        at_s = (change.at_us - BEGIN_US) // US_PER_S
        assert change.rule == case.rule
        assert "?" not in change.text_en + change.text_zh.replace("？", ""), change.text_en
        if change.state == "firing":
            spans[change.episode] = (at_s, None)
        elif change.state == "resolved":
            spans[change.episode] = (spans[change.episode][0], at_s)
    return list(spans.values())


@pytest.mark.parametrize("case", list(read_cases()))
def test_a_shipped_rule_fires_when_it_should_and_only_then(case: Case) -> None:
    alerts = alerts_of(case)
    assert len(alerts) == len(case.alerts), alerts
    for (began_s, ended_s), (starts, ends) in zip(alerts, case.alerts, strict=True):
        assert starts[0] <= began_s <= starts[1], alerts
        assert ends is None if ended_s is None else ends and ends[0] <= ended_s <= ends[1], alerts


def test_every_shipped_rule_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = [param.values[0] for param in read_cases()]
    fires = {case.rule for case in cases if case.alerts}
    quiet = {case.rule for case in cases if not case.alerts}
    assert (set(RULES) - fires, set(RULES) - quiet) == (set(), set())
    assert (fires | quiet) - set(RULES) == set()


def test_shipped_rules_begin_with_the_code_of_a_fault_and_say_it_in_both_languages() -> None:
    for rule in RULES.values():
        assert re.match(r"(CP|C|P|V|N)\d\d_|flying_wire_meter$", rule.id), rule.id
        assert re.search("[\u4e00-\u9fff]", rule.message_zh), rule.id
        assert not re.search("[\u4e00-\u9fff]", rule.message_en), rule.id


def test_every_device_type_that_speaks_has_an_offline_rule() -> None:
    absent = [rule for rule in RULES.values() if rule.kind_word == "absent"]
    assert {word for rule in absent for word in rule.on.types} == set(shelf_words("ingest.devices"))


def test_nobody_is_told_of_what_only_goes_to_review() -> None:
    review = [rule.id for rule in RULES.values() if rule.audience == "review"]
    assert review == ["flying_wire_meter"]
    assert RULES["flying_wire_meter"].severity == "info"
