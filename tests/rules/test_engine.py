from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.changes import Change
from ingest.inputs import Control, Event, Inputs, Presence
from ingest.readings import Flag, Readings, Series, SeriesTable
from rules.checkpoint import dump, load
from rules.engine import start, step
from rules.kinds.absent import Absent
from rules.kinds.expression import Expression
from rules.rule import Rule
from rules.rulebook import load_rulebook
from tests.rules.community import (
    REGISTRY,
    RULES,
    T0,
    Item,
    S,
    begin,
    cuts,
    inputs,
    rule,
    rulebook,
    streams,
    whole,
)
from tests.rules.naive import Naive, Turn

UNTIL = T0 + 260 * S


def turn(change: Change) -> Turn:
    return (
        change.at_us,
        change.device,
        change.channel,
        change.rule,
        change.state,
        change.started_us,
        change.since_us,
    )


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from(RULES.rules), min_size=1, max_size=3), streams(15))
def test_the_engine_is_the_slow_model_that_visits_every_second(
    rules: set[Rule], items: list[Item]
) -> None:
    until = _last(items) + 15 * S
    book = rulebook(*rules)
    slow = Naive(book, REGISTRY, {"x1": "pump"}, T0).run(inputs(items, SeriesTable()), until)
    _, changes = step(begin(book), inputs(items, SeriesTable()), until)
    assert sorted(map(turn, changes)) == sorted(slow)


@settings(max_examples=30, deadline=None)
@given(st.data(), streams())
def test_changes_do_not_depend_on_how_the_stream_is_cut(
    data: st.DataObject, items: list[Item]
) -> None:
    expected = whole(items, UNTIL)
    state, table = begin(), SeriesTable()
    changes: list[Change] = []
    for part, now in data.draw(cuts(items, UNTIL)):
        state, some = step(state, inputs(part, table), now)
        changes += some
    assert expected == changes


@settings(max_examples=30, deadline=None)
@given(st.data(), streams())
def test_a_checkpoint_anywhere_changes_nothing(data: st.DataObject, items: list[Item]) -> None:
    expected = whole(items, UNTIL)
    state, table = begin(), SeriesTable()
    changes: list[Change] = []
    for part, now in data.draw(cuts(items, UNTIL)):
        state, some = step(state, inputs(part, table), now)
        changes += some
        state = load(dump(state), RULES, REGISTRY)
    assert expected == changes


@settings(max_examples=30, deadline=None)
@given(st.data(), streams())
def test_the_order_of_series_is_irrelevant(data: st.DataObject, items: list[Item]) -> None:
    series = list(dict.fromkeys(item[2] for item in items if isinstance(item, tuple)))
    table = SeriesTable.of(data.draw(st.permutations(series)))
    batch = replace(inputs(items, table), new_series=tuple(table.rows))
    _, changes = step(begin(), batch, UNTIL)
    assert whole(items, UNTIL) == list(changes)


def _last(items: list[Item]) -> int:
    return max(item[0] if isinstance(item, tuple) else item.arrival_us for item in items)


def _rows(*rows: tuple[float, float], metric: str = "pressure", device: str = "p1") -> list[Item]:
    """(seconds after T0, value)."""
    series = Series("s", device, "main", metric)
    return [(T0 + int(at * S), T0 + int(at * S), series, value, 0) for at, value in rows]


def _states(book_rules: list[Rule], items: list[Item], until_s: float) -> list[tuple[str, float]]:
    """What became of the alerts, in seconds after T0."""
    state = start(rulebook(*book_rules), REGISTRY, T0)
    _, changes = step(state, inputs(items, SeriesTable()), T0 + int(until_s * S))
    return [(change.state, (change.at_us - T0) / S) for change in changes]


HIGH = Expression("pressure > 1")


def test_a_rule_fires_at_the_grid_point_where_the_condition_has_held_for_long_enough() -> None:
    rows = _rows((0.4, 2), (1, 2), (2, 2), (3, 2))
    assert _states([rule("r", HIGH, for_s=2)], rows, 3) == [("firing", 3.0)]


def test_a_break_begins_the_count_anew_even_within_a_second() -> None:
    rows = _rows((0.5, 2), (2.1, 0), (2.2, 2), (4.9, 2))
    assert _states([rule("r", HIGH, for_s=2)], rows, 5) == [("firing", 5.0)]


def test_without_for_a_moment_is_enough() -> None:
    rows = _rows((1.2, 2), (1.6, 0))
    assert _states([rule("r", HIGH)], rows, 9) == [("firing", 2.0), ("resolved", 3.0)]


def test_a_gap_neither_counts_nor_resolves() -> None:
    quick = rule("r", HIGH, for_s=3, stale_after_s=2)
    rows = _rows((1, 2), (6, 2), (7, 2), (8, 2), (9, 2))
    expected = [("firing", 9.0), ("unknown", 12.0)]
    assert expected == _states([quick], rows, 60)


def test_input_that_comes_back_is_known_again_and_the_clear_clock_begins_anew() -> None:
    quick = rule("r", HIGH, clear_for_s=2, stale_after_s=2)
    rows = _rows((1, 2), (2, 0), (9, 0), (10, 0), (11, 0))
    expected = [("firing", 1.0), ("resolved", 4.0)]
    assert expected == _states([quick], rows[:2], 4)
    quick = rule("r", HIGH, clear_for_s=5, stale_after_s=2)
    expected = [("firing", 1.0), ("unknown", 5.0), ("known", 9.0), ("resolved", 14.0)]
    assert expected == _states([quick], rows + _rows((12, 0), (13, 0), (14, 0)), 14)


def test_the_clear_condition_is_another_one_and_must_hold() -> None:
    wide = rule("r", HIGH, Expression("pressure < 0.5"), clear_for_s=1)
    rows = _rows((1, 2), (2, 0.7), (4, 0.3), (4.5, 0.7), (5, 0.3), (6, 0.3))
    assert _states([wide], rows, 9) == [("firing", 1.0), ("resolved", 6.0)]


def test_an_alert_is_kept_for_a_while_after_it_last_held() -> None:
    kept = rule("r", HIGH, keep_firing_s=4)
    rows = _rows((1, 2), (2, 0), (3, 2), (4, 0))
    assert _states([kept], rows, 20) == [("firing", 1.0), ("resolved", 8.0)]


def test_rows_that_are_late_repeated_or_older_never_touch_state() -> None:
    series = Series("s", "p1", "main", "pressure")
    rows: list[Item] = [
        (T0 + 1 * S, T0 + S, series, 0.0, 0),
        (T0 + 2 * S, T0 + S, series, 2.0, 0),
        (T0 + 3 * S, T0, series, 2.0, 0),
        *((T0 + 4 * S, T0 + 4 * S, series, 2.0, int(flag)) for flag in (Flag.LATE, Flag.RETAINED)),
        (T0 + 5 * S, T0 + 5 * S, series, 2.0, int(Flag.BAD)),
    ]
    assert _states([rule("r", HIGH)], rows, 9) == []


def test_a_device_is_absent_though_it_was_never_seen() -> None:
    rows = _rows((20, 1))
    gone = rule("r", Absent(10), types=("pump",), tags=("sump",))
    assert _states([gone], rows, 35) == [("firing", 10.0), ("resolved", 20.0), ("firing", 30.0)]


def test_time_in_which_nobody_listened_is_nobodys_silence() -> None:
    state = begin(rulebook(rule("gone", Absent(60), types=("pump",))))
    heard = Inputs(
        Readings.of([T0 + S], [T0 + S], [0], [1.0], [0]),
        new_series=(Series("s", "p1", "main", "pressure"),),
    )
    state, _ = step(state, heard, T0 + 30 * S)
    deaf = Control(1, "deaf", T0 + 30 * S + 1, {"deaf_us": 600 * S})
    state, changes = step(state, Inputs(Readings.empty(), controls=(deaf,)), T0 + 630 * S)
    assert changes == ()
    state, changes = step(state, Inputs(Readings.empty()), T0 + 700 * S)
    assert {(c.device, c.at_us) for c in changes if c.device == "p1"} == {("p1", T0 + 661 * S)}


def test_a_silence_of_before_goes_on_after_it() -> None:
    state = begin(rulebook(rule("gone", Absent(60), types=("pump",))))
    state, fired = step(state, Inputs(Readings.empty()), T0 + 90 * S)
    assert fired
    deaf = Control(1, "deaf", T0 + 90 * S + 1, {"deaf_us": 600 * S})
    _, changes = step(state, Inputs(Readings.empty(), controls=(deaf,)), T0 + 800 * S)
    assert changes == ()


def test_an_offline_presence_is_not_heard_and_an_online_one_is() -> None:
    gone = rule("r", Absent(10), types=("pump",), tags=("sump",))
    at = T0 + 5 * S
    offline = Presence("s", "p1", "offline", "will", at, at)
    assert _states([gone], [offline], 12) == [("firing", 10.0)]
    online = Presence("s", "p1", "online", "birth", at, at)
    assert _states([gone], [online], 16) == [("firing", 15.0)]


def test_a_row_behind_a_settled_grid_point_counts_as_arriving_just_after_it() -> None:
    state, table = start(rulebook(rule("r", HIGH)), REGISTRY, T0), SeriesTable()
    state, none = step(state, inputs([], table), T0 + 5 * S)
    state, changes = step(state, inputs(_rows((2, 2)), table), T0 + 6 * S)
    assert (none, [change.at_us for change in changes]) == ((), [T0 + 6 * S])
    assert changes[0].since_us == T0 + 5 * S + 1


def test_a_channel_takes_what_it_lacks_from_the_main_channel() -> None:
    hot = rule("r", Expression('pressure > 1 and state.run == "running"'), channel="port.*")
    rows: list[Item] = [
        (T0 + S, T0 + S, Series("s", "p1", "main", "state.run"), 1.0, 0),
        (T0 + S, T0 + S, Series("s", "p1", "port.1", "pressure"), 2.0, 0),
        (T0 + S, T0 + S, Series("s", "p1", "port.2", "pressure"), 0.0, 0),
    ]
    state = start(rulebook(hot), REGISTRY, T0)
    _, changes = step(state, inputs(rows, SeriesTable()), T0 + S)
    assert [change.channel for change in changes] == ["port.1"]


def test_what_people_read_names_the_place_and_the_value() -> None:
    told = rule(
        "r",
        Expression("pressure > param.set_pressure"),
        message_zh="{building}{device}压力 {pressure}",
        message_en="{building}: {pressure} above {param.set_pressure} since {since}",
    )
    state = start(rulebook(told), REGISTRY, T0)
    _, changes = step(state, inputs(_rows((1, 312.3456789)), SeriesTable()), T0 + S)
    assert changes[0].text_zh == "1号楼p1压力 312.3 kPa"
    assert changes[0].text_en == "Building 1: 312.3 kPa above 0.5 kPa since 2023-11-15 06:13"
    assert changes[0].evidence == {
        "since": "2023-11-14T22:13:21.000Z",
        "values": {"pressure": 312.346},
        "parameters": {"set_pressure": 0.5},
    }


def test_a_sighting_ends_when_no_camera_confirms_it_for_ten_minutes() -> None:
    seen = [one for one in RULES.rules if one.id == "seen"]
    at = T0 + S
    event = Event("s", "c1", "zone.a", "cable_hanging", "1", "start", at, at)
    rows = _rows(*((float(second), 2.0) for second in range(1, 700, 30)))
    expected = [("firing", 3.0), ("resolved", 602.0)]
    assert expected == _states(seen, [event, *rows], 690)


def test_a_system_record_makes_and_ends_an_alert_about_the_service() -> None:
    body = {"code": "disk", "severity": "serious", "zh": "磁盘", "en": "Disk"}
    at = T0 + S // 2
    fire = Control(1, "system", at, {**body, "state": "firing"})
    again = Control(2, "system", at + S, {**body, "state": "firing"})
    over = Control(3, "system", at + 2 * S, {**body, "state": "resolved"})
    state = start(rulebook(), REGISTRY, T0)
    _, changes = step(state, inputs([fire, again, over], SeriesTable()), T0 + 5 * S)
    assert [(c.state, c.at_us) for c in changes] == [("firing", T0 + S), ("resolved", T0 + 3 * S)]
    assert (
        changes[0].rule,
        changes[0].device,
        changes[0].channel,
        changes[0].severity,
    ) == ("disk", "courtyard", "main", "serious")
    assert changes[0].episode == changes[1].episode


OLD = """
rules:
  - id: high
    when: pressure > 1 kPa
    for: 2s
    severity: warning
  - id: flowing
    when: flow > 1 m3/h
    severity: warning
"""


def test_a_new_rulebook_keeps_what_did_not_change_and_closes_what_did() -> None:
    book = load_rulebook("old.yaml", OLD)
    new = OLD.replace("flow > 1", "flow > 3")
    rows = _rows((1, 2)) + _rows((1, 2), (9, 4), metric="flow")
    swap = Control(1, "rulebook", T0 + int(1.5 * S), {"text": new, "file": "new.yaml"})
    state = start(book, REGISTRY, T0)
    _, changes = step(state, inputs([*rows, swap], SeriesTable()), T0 + 9 * S)
    assert [(c.rule, c.state, (c.at_us - T0) // S) for c in changes] == [
        ("flowing", "firing", 1),
        ("flowing", "resolved", 2),
        ("high", "firing", 3),
        ("flowing", "firing", 9),
    ]


def test_a_broken_rulebook_leaves_the_old_one_in_force_and_an_alert_says_so() -> None:
    broken = Control(1, "rulebook", T0 + 1, {"text": "rules:\n  - {id: x}\n", "file": "bad.yaml"})
    good = Control(2, "rulebook", T0 + 2 * S, {"text": OLD, "file": "old.yaml"})
    state = start(load_rulebook("old.yaml", OLD), REGISTRY, T0)
    batch = inputs([*_rows((1.5, 2)), broken, good], SeriesTable())
    _, changes = step(state, batch, T0 + 5 * S)
    assert [(c.rule, c.state) for c in changes] == [
        ("rulebook_refused", "firing"),
        ("rulebook_refused", "resolved"),
        ("high", "firing"),
    ]
    assert "bad.yaml:2:" in changes[0].text_en


def test_quiet_months_take_no_time() -> None:
    rows = _rows((1, 2), (90 * 86_400, 2))
    state = start(RULES, REGISTRY, T0)
    visits = state.round
    state, _ = step(state, inputs(rows, SeriesTable()), T0 + 91 * 86_400 * S)
    assert state.round - visits == 2


def test_nothing_at_all_is_a_batch_too() -> None:
    state = start(rulebook(), None, T0)
    assert step(state, Inputs(Readings.empty()), T0 + S)[1] == ()
