from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.alerts import Alerts, by_rule, hear, on_grid, settle
from rules.kind import FOREVER_US, NO, SILENT, UNKNOWN, YES
from rules.wording import local_words, number_words, rounded, value_words

S = 1_000_000
ONE = np.array([0])


def _life(*words: int, for_s: int = 0, clear_for_s: int = 0, keep_s: int = 0) -> list[str]:
    """One verdict a second: what turned, second by second."""
    alerts = Alerts()
    alerts.add()
    alerts.for_us[0], alerts.clear_for_us[0], alerts.keep_us[0] = (
        for_s * S,
        clear_for_s * S,
        keep_s * S,
    )
    turned = []
    for second, word in enumerate(words):
        now = second * S
        silent = np.array([SILENT])
        hear(alerts, ONE, np.array([word], np.int8), silent, np.array([now]))
        turns = settle(alerts, ONE, now)
        groups = zip("FR?!", (turns.fired, turns.resolved, turns.lost, turns.found), strict=True)
        turned.append("".join(word for word, rows in groups if len(rows)) or "-")
    return turned


Y, N, U, Q = int(YES), int(NO), int(UNKNOWN), int(SILENT)


def test_a_life_goes_from_quiet_to_firing_and_back() -> None:
    assert "".join(_life(N, Y, Y, N, N)) == "-F-R-"


def test_for_is_counted_from_the_first_yes_without_a_break() -> None:
    assert "".join(_life(Y, Y, N, Y, Y, Y, for_s=2)) == "-----F"
    assert "".join(_life(Y, Y, U, Y, Y, Y, for_s=2)) == "-----F"


def test_silence_lets_the_last_word_stand() -> None:
    assert "".join(_life(Y, Q, Q, N, Q, Q, for_s=2, clear_for_s=2)) == "--F--R"


def test_unknown_is_told_once_and_restarts_the_clear_clock() -> None:
    assert "".join(_life(Y, N, U, U, N, N, N, clear_for_s=2)) == "F-?-!-R"
    assert "".join(_life(Y, U, N)) == "F?R"


def test_keep_firing_counts_from_when_it_last_held() -> None:
    assert "".join(_life(Y, N, N, Y, N, N, N, keep_s=3)) == "F------"
    assert "".join(_life(Y, N, N, N, N, keep_s=3)) == "F---R"


def test_columns_grow_with_what_they_begin_with() -> None:
    alerts = Alerts()
    assert [alerts.add() for _ in range(40)] == list(range(40))
    assert (alerts.word[:40] == NO).all()
    assert (alerts.due_us[:40] == FOREVER_US).all()


@given(st.lists(st.integers(0, 3), max_size=30))
def test_by_rule_splits_without_a_rest(rules: list[int]) -> None:
    alerts = Alerts()
    for rule in rules:
        number = alerts.add()
        alerts.rule[number] = rule
    ordered, parts = by_rule(alerts, np.arange(len(rules)))
    assert sorted(ordered.tolist()) == list(range(len(rules)))
    for rule, part in parts:
        assert {rules[number] for number in ordered[part].tolist()} == {rule}
    assert sum(part.stop - part.start for _, part in parts) == len(rules)


def test_the_grid_is_whole_seconds_upwards() -> None:
    times = np.array([0, 1, S, S + 1, -1, FOREVER_US])
    assert on_grid(times).tolist() == [0, S, S, 2 * S, 0, FOREVER_US]


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("pressure", 312.3456, "312.3 kPa"),
        ("pressure", 0.0, "0 kPa"),
        ("power.active", 12345.6, "12350 W"),
        ("power.active", -812.0, "-812 W"),
        ("temperature", 21.0, "21 ℃"),
        ("humidity", 55.55, "55.55%"),
        ("flow", 0.00123456, "0.001235 m³/h"),
        ("power_factor", 0.98765, "0.9877"),
        ("state.relay", 1.0, "closed"),
        ("state.relay", 7.0, "7"),
        ("pressure", float("nan"), "–"),
    ],
)
def test_values_are_shown_with_four_digits_and_their_unit(
    metric: str, value: float, expected: str
) -> None:
    assert value_words(metric, value) == expected


def test_evidence_is_rounded_and_plain() -> None:
    told = {"a": 1.23456789, "b": [float("nan"), np.float64(2.0)], "c": {"d": np.True_}}
    assert rounded(told) == {"a": 1.23457, "b": [None, 2.0], "c": {"d": True}}


def test_times_are_shown_on_the_clock_of_the_site() -> None:
    assert local_words(0, "Asia/Shanghai") == "1970-01-01 08:00"
    assert local_words(0, "") == "1970-01-01 00:00"
    assert number_words(1.0, "1") == "1"
