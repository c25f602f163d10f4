from __future__ import annotations

import copy
import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readings import Numbers
from rules.kind import FOREVER_US, NEVER_US, NO, UNKNOWN, YES
from rules.kinds.flying_wire import KIND, FlyingWire
from tests.rules.flying_model import Circuit
from tests.rules.flying_series import (
    MINUTE_US,
    START_US,
    charge,
    feed,
    noisy,
    scope,
    watch,
)

Segment = tuple[int, float, float]

segments = st.lists(
    st.tuples(
        st.integers(1, 90),
        st.sampled_from([0.0, 15.5, 40.0, 62.0, 98.0, 150.0, 350.0, 900.0]),
        st.sampled_from([-0.3, 0.0, 0.0, 0.02, 0.2]),
    ),
    min_size=2,
    max_size=10,
)


def series(parts: Sequence[Segment], base: float, seed: int) -> Numbers:
    """Loads one after the other, each with a slope per hour, over a base; with a meter's noise."""
    runs = [watts * (1 + slope * np.arange(length) / 60) for length, watts, slope in parts]
    return noisy(np.maximum(np.concatenate(runs), 0) + base, seed)


def the_day_with_a_charge(start: int = 60, length: int = 600) -> Numbers:
    power = np.zeros((1, length))
    made = charge(260)
    power[0, start : start + len(made)] += made
    return noisy(power)


SHOWN = ("on", "base", "amplitude", "other", "in_band", "taper", "score")


@settings(max_examples=25, deadline=None)
@given(segments, segments, st.sampled_from([0.0, 30.0, 400.0]), st.integers(0, 9))
def test_the_columns_answer_as_a_slow_obvious_model_does(
    first: list[Segment], second: list[Segment], base: float, seed: int
) -> None:
    one, two = series(first, base, seed), series(second, 0.0, seed + 1)
    length = min(len(one), len(two))
    power = np.stack([one[:length], two[:length]])
    rule = FlyingWire()
    memory, rows = rule.fresh_columns(2), np.arange(2)
    models = [Circuit(), Circuit()]
    start = START_US // MINUTE_US
    for minute in range(length):
        rule.take_minute(memory, rows, np.full(2, start + minute), power[:, minute])
        for row, model in enumerate(models):
            model.minute(start + minute, float(power[row, minute]))
            for place, load in enumerate(model.loads):
                state = memory["state"][row, place]
                assert state == (0 if load is None else load.state)
                if load is not None:
                    # below 1 W the score may hang on the last bit of a sum, and decides nothing
                    names = SHOWN if load.amplitude >= 1.0 else SHOWN[:-1]
                    for name in names:
                        assert memory[name][row, place] == getattr(load, name), name


@settings(max_examples=12, deadline=None)
@given(
    segments,
    st.lists(st.integers(1, 11), min_size=40, max_size=200),
    st.dictionaries(st.integers(0, 39), st.integers(12, 400), max_size=3),
)
def test_held_and_unknown_minutes_are_what_the_model_says(
    parts: list[Segment], paces: list[int], gaps: dict[int, int]
) -> None:
    power = series(parts, 20.0, 3)
    rule, model = FlyingWire(), Circuit()
    memory, rows = rule.fresh_columns(1), np.arange(1)
    start, minute, last = START_US // MINUTE_US, 0, 0.0
    for number, pace in enumerate(paces):
        step = gaps.get(number, pace) if number else 0
        for passed in range(minute, minute + step):
            if step <= 11 or passed == minute:
                model.minute(start + passed, last)
        if step > 11:
            model.gap(step - 1)
        minute += step
        last = float(power[minute % len(power)])
        feed(rule, memory, rows, minute, np.array([last]))
    assert [0 if load is None else load.state for load in model.loads] == memory["state"][
        0
    ].tolist()
    for place, load in enumerate(model.loads):
        if load is not None:
            assert memory["amplitude"][0, place] == load.amplitude
            assert memory["score"][0, place] == load.score


@settings(max_examples=8, deadline=None)
@given(st.lists(segments, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_instances_taken_together_alone_or_in_any_order_end_the_same(
    groups: list[list[Segment]], random: object
) -> None:
    runs = [series(parts, 10.0, seed) for seed, parts in enumerate(groups)]
    length = min(len(run) for run in runs)
    power = np.stack([run[:length] for run in runs])
    rule = FlyingWire()
    together, _ = watch(rule, power)
    apart = rule.fresh_columns(len(runs))
    order = np.arange(len(runs))
    shuffle = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    for minute in range(length):
        shuffle.shuffle(order)
        cut = int(shuffle.integers(len(order) + 1))
        for chunk in (order[:cut].copy(), order[cut:].copy()):
            if len(chunk):
                feed(rule, apart, chunk, minute, power[chunk, minute])
    for name, column in together.items():
        assert column.tobytes() == apart[name].tobytes(), name


def test_copied_columns_go_on_as_the_first_would_have() -> None:
    rule, power = FlyingWire(), the_day_with_a_charge()
    memory, _ = watch(rule, power[:, :150])
    copied = copy.deepcopy(memory)
    rows = np.arange(1)
    for minute in range(150, 400):
        one = feed(rule, memory, rows, minute, power[:, minute])
        two = feed(rule, copied, rows, minute, power[:, minute])
        assert one == two
    for name, column in memory.items():
        assert column.tobytes() == copied[name].tobytes(), name


def test_a_charge_is_told_within_two_hours_and_until_it_is_over() -> None:
    _, verdicts = watch(FlyingWire(), the_day_with_a_charge())
    said = [minute for minute, verdict in enumerate(verdicts) if verdict[0] == YES]
    assert 60 + 50 <= said[0] <= 60 + 120
    assert said == list(range(said[0], said[-1] + 1))
    assert said[-1] <= 60 + 260 + 60


def test_a_charge_read_every_ten_minutes_is_told_too() -> None:
    power = the_day_with_a_charge()
    rule = FlyingWire()
    memory, rows = rule.fresh_columns(1), np.arange(1)
    said = [
        minute
        for minute in range(0, 600, 10)
        if feed(rule, memory, rows, minute, power[:, minute])[0] == YES
    ]
    assert said
    assert 110 <= said[0] <= 240


@pytest.mark.parametrize(
    ("what", "power"),
    [
        ("a fridge", np.tile(np.repeat([120.0, 0.0], [18, 30]), 20)),
        ("a kettle each hour", np.tile(np.repeat([2_000.0, 0.0], [4, 56]), 16)),
        ("a heater", np.repeat([0.0, 1_500.0, 0.0], [120, 600, 120])),
        ("a notebook", np.repeat([0.0, 62.0, 0.0], [120, 200, 120])),
        ("a phone", np.repeat([0.0, 6.0, 0.0], [120, 80, 300])),
        ("nothing", np.zeros(900)),
    ],
)
def test_what_is_no_charger_never_holds(what: str, power: Numbers) -> None:
    _, verdicts = watch(FlyingWire(), noisy(power[None, :]))
    assert not any(verdict[0] == YES for verdict in verdicts), what


def test_readings_of_a_second_are_averaged_by_minute() -> None:
    rule = FlyingWire()
    memory, rows = rule.fresh_columns(1), np.arange(1)
    for second in range(125):
        now = np.array([START_US + second * 1_000_000], np.int64)
        rule.observe(memory, rows, scope(np.array([float(second)]), now))
    minute = START_US // MINUTE_US
    assert memory["power"][0, minute % 128] == 29.5
    assert memory["power"][0, (minute + 1) % 128] == 89.5


def test_a_reading_of_an_older_minute_changes_nothing() -> None:
    rule = FlyingWire()
    memory, _ = watch(rule, the_day_with_a_charge()[:, :200])
    before = copy.deepcopy(memory)
    feed(rule, memory, np.arange(1), 100, np.array([5_000.0]))
    for name, column in memory.items():
        assert column.tobytes() == before[name].tobytes(), name


def test_a_value_that_is_no_number_is_no_reading() -> None:
    rule = FlyingWire()
    memory, _ = watch(rule, the_day_with_a_charge()[:, :200])
    before = copy.deepcopy(memory)
    now = np.array([START_US + 200 * MINUTE_US], np.int64)
    assert rule.observe(memory, np.arange(1), scope(np.array([np.nan]), now))[0] == UNKNOWN
    for name, column in memory.items():
        assert column.tobytes() == before[name].tobytes(), name


def test_stale_input_is_unknown_while_a_load_is_followed_and_no_otherwise() -> None:
    rule = FlyingWire()
    idle, _ = watch(rule, noisy(np.zeros((1, 200))))
    busy, _ = watch(rule, the_day_with_a_charge()[:, :200])
    stale = scope(np.array([np.nan]), np.array([START_US], np.int64))
    assert rule.judge(idle, stale)[0] == NO
    assert rule.judge(busy, stale)[0] == UNKNOWN


def test_after_a_gap_of_half_an_hour_a_charge_that_goes_on_still_holds() -> None:
    rule, power = FlyingWire(), the_day_with_a_charge(60)
    memory, verdicts = watch(rule, power[:, :140])
    assert verdicts[-1][0] == YES
    assert feed(rule, memory, np.arange(1), 170, power[:, 170])[0] == YES
    later = [feed(rule, memory, np.arange(1), m, power[:, m])[0] for m in range(171, 200)]
    assert later == [YES] * 29


def test_after_a_gap_a_charge_that_is_over_ends() -> None:
    rule, power = FlyingWire(), the_day_with_a_charge(60)
    memory, _ = watch(rule, power[:, :140])
    verdicts = [feed(rule, memory, np.arange(1), 180 + m, np.array([0.5]))[0] for m in range(40)]
    assert verdicts[0] == YES
    assert verdicts[-1] == NO


def test_after_a_gap_of_hours_nothing_old_is_believed() -> None:
    rule, power = FlyingWire(), the_day_with_a_charge(60)
    memory, _ = watch(rule, power[:, :140])
    assert feed(rule, memory, np.arange(1), 140 + 200, np.array([150.0]))[0] == NO
    assert np.isnan(memory["power"]).sum() >= 127


def test_a_camera_alone_that_sees_a_cable_is_no_suspicion() -> None:
    assert fused(hit=False, taper=False, cable=True, ebike=False) == pytest.approx(0.38, abs=0.005)


@pytest.mark.parametrize(
    ("taper", "cable", "ebike", "p"),
    [
        (False, False, False, 0.03),
        (True, False, False, 0.28),
        (True, True, False, 0.83),
        (False, True, False, 0.47),
        (False, True, True, 0.47),
        (False, False, True, 0.11),
    ],
)
def test_evidence_joins_as_in_the_worked_figures(
    taper: bool, cable: bool, ebike: bool, p: float
) -> None:
    assert fused(hit=True, taper=taper, cable=cable, ebike=ebike) == pytest.approx(p, abs=0.005)


def fused(*, hit: bool, taper: bool, cable: bool, ebike: bool) -> float:
    rule = FlyingWire(decide="fused")
    memory = rule.fresh_columns(1)
    memory["minute"][0] = START_US // MINUTE_US + 60
    memory["state"][0, 1] = 2 if hit else 0
    memory["score"][0, 1] = 0.0
    memory["amplitude"][0, 1] = 100.0
    memory["on"][0, 1] = memory["since"][0, 1] = START_US // MINUTE_US
    memory["taper"][0, 1] = taper
    now = START_US + 700 * 1_000_000
    seen = {
        "cable_hanging": np.array([START_US if cable else NEVER_US]),
        "ebike": np.array([START_US if ebike else NEVER_US]),
    }
    looked = scope(np.array([100.0]), np.array([now], np.int64), seen)
    case = rule.evidence(memory, looked, 0)
    p = case["p"]
    assert isinstance(p, float)
    assert rule.judge(memory, looked)[0] == (YES if p >= 0.5 else NO)
    assert case["stage"] == (
        "probable" if p >= 0.8 else "suspect" if p >= 0.5 else "look" if p >= 0.2 else ""
    )
    json.dumps(case)
    return p


def test_a_cable_counts_after_three_minutes_and_the_rule_says_when() -> None:
    rule = FlyingWire(decide="fused")
    memory = rule.fresh_columns(3)
    memory["state"][:, 0] = 2
    memory["taper"][:, 0] = True
    now = START_US + 100 * 1_000_000
    seen = {
        "cable_hanging": np.array([START_US, NEVER_US, START_US - 180 * 1_000_000]),
        "ebike": np.array([NEVER_US, START_US, START_US - 600 * 1_000_000]),
    }
    looked = scope(np.full(3, 100.0), np.full(3, now, np.int64), seen)
    assert rule.judge(memory, looked).tolist() == [NO, NO, YES]
    due = rule.due_us(memory, looked)
    assert due.tolist() == [START_US + 180_000_000, START_US + 600_000_000, FOREVER_US]
    later = scope(np.full(3, 100.0), np.full(3, due[0], np.int64), seen)
    assert rule.judge(memory, later).tolist() == [YES, NO, YES]


def test_the_meter_alone_is_never_due_and_asks_for_no_camera() -> None:
    rule = FlyingWire()
    looked = scope(np.array([1.0]), np.array([START_US], np.int64))
    assert rule.due_us(rule.fresh_columns(1), looked)[0] == FOREVER_US
    assert rule.sightings == ()
    assert rule.metrics == ("power.active",)


def test_evidence_shows_the_curve_in_numbers_that_json_can_hold() -> None:
    rule, power = FlyingWire(), the_day_with_a_charge(60)
    memory, _ = watch(rule, power[:, :200])
    now = np.array([START_US + 199 * MINUTE_US], np.int64)
    shown = rule.evidence(memory, scope(power[:, 199], now), 0)
    json.dumps(shown, allow_nan=False)
    assert shown["amplitude_w"] == pytest.approx(152, abs=4)
    assert shown["minutes"] == pytest.approx(138, abs=4)
    assert shown["slope_per_hour"] == pytest.approx(0.03, abs=0.02)
    means = shown["minute_means_w"]
    assert isinstance(means, list)
    assert len(means) == 120
    assert None not in means


def test_evidence_of_a_circuit_that_was_never_heard_is_empty() -> None:
    rule = FlyingWire()
    looked = scope(np.array([np.nan]), np.array([START_US], np.int64))
    assert rule.evidence(rule.fresh_columns(1), looked, 0) == {}


@pytest.mark.parametrize(
    "wrong", [{"score": 1.0}, {"prior": 0.0}, {"min_w": 600.0}, {"suspect": 2}]
)
def test_impossible_thresholds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="write"):
        FlyingWire(**wrong)  # type: ignore[arg-type]


def test_the_shelf_finds_the_kind() -> None:
    assert KIND is FlyingWire
