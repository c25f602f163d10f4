from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import US_PER_S, format_us
from rules.scoring.alerts import Alert, AlertsError, by_device, read_alerts
from rules.scoring.found import Unit, false_row, found_row, outcomes
from rules.scoring.pointwise import PredictionsError, alert_flags, read_predictions, score_rows
from rules.scoring.pumps import COLUMNS, TRAINING_ROWS, Experiment
from rules.scoring.readings import write_readings
from rules.scoring.table import Table, format_table

MINUTE = 60 * US_PER_S
START = 1_700_000_000 * US_PER_S


def experiment(labels: list[bool]) -> Experiment:
    n = TRAINING_ROWS + len(labels)
    anomaly = np.array([False] * TRAINING_ROWS + labels)
    values = {name: np.zeros(n) for name in COLUMNS}
    return Experiment("valve1/0.csv", START + np.arange(n) * US_PER_S, values, anomaly, 10)


def test_an_alert_finds_a_charge_until_half_an_hour_after_its_end() -> None:
    unit = Unit("a", ("g",), "c", 1.0, START, START + 60 * MINUTE)
    times = [-1, 0, 90, 91]
    for minute, found in zip(times, [False, True, True, False], strict=True):
        alert = Alert("r", "a", START + minute * MINUTE, None)
        (result,) = outcomes([unit], {"a": [alert]})
        assert (result.delay_min == minute) == found
        assert result.false == (0 if found else 1)


def test_the_delay_is_that_of_the_first_alert_and_a_second_one_is_not_false() -> None:
    unit = Unit("a", ("g",), "c", 1.0, START, START + 60 * MINUTE)
    alerts = [Alert("r", "a", START + minute * MINUTE, None) for minute in (70, 20)]
    (result,) = outcomes([unit], by_device(alerts))
    assert (result.delay_min, result.false) == (20.0, 0)


def test_every_alert_on_a_day_without_a_charge_is_false() -> None:
    unit = Unit("a", ("g",), "c", 2.0)
    results = outcomes([unit], {"a": [Alert("r", "a", START, None)] * 3})
    assert false_row(("x",), results)[-3:] == (2.0, 3, 150.0)
    assert found_row(("x",), results)[1:3] == (1, 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_row_scores_are_those_of_counting_row_by_row(rows: list[tuple[bool, bool]]) -> None:
    run = experiment([label for label, _ in rows])
    flags = np.array([True] * TRAINING_ROWS + [flag for _, flag in rows])
    scored = score_rows(run, flags)
    assert scored.tp == sum(label and flag for label, flag in rows)
    assert scored.fp == sum(flag and not label for label, flag in rows)
    assert scored.fn == sum(label and not flag for label, flag in rows)
    assert scored.tn == sum(not label and not flag for label, flag in rows)
    first = next((k for k, (label, _) in enumerate(rows) if label), 0)
    hit = next((k for k, (label, flag) in enumerate(rows) if label and flag), None)
    assert scored.delay_s == (None if hit is None else hit - first)
    false, inside, touched, begun = 0, False, False, 0
    for k, (label, flag) in enumerate([*rows, (False, False)]):
        if flag and (k == 0 or not rows[k - 1][1]):
            touched, begun = False, k
            inside |= label and k > 0
        touched |= flag and label
        if not flag and k > 0 and rows[k - 1][1]:
            false += not touched
    assert begun >= 0
    assert (scored.false_starts, scored.inside) == (false, inside)


def test_an_alert_flags_rows_from_its_start_up_to_its_end() -> None:
    run = experiment([False, True, True, False])
    time = run.time_us
    at = TRAINING_ROWS
    alerts = [Alert("r", "valve1_0", int(time[at + 1]), int(time[at + 3]))]
    flags = alert_flags(run, alerts)
    assert flags[at:].tolist() == [False, True, True, False]
    scored = score_rows(run, flags, alerts)
    assert (scored.tp, scored.fp, scored.inside, scored.false_starts) == (2, 0, True, 0)


def test_an_open_alert_that_was_on_before_the_test_rows_found_nothing() -> None:
    run = experiment([False, True])
    alerts = [Alert("r", "valve1_0", int(run.time_us[3]), None)]
    scored = score_rows(run, alert_flags(run, alerts), alerts)
    assert (scored.tp, scored.fp, scored.inside, scored.false_starts) == (1, 1, False, 0)


def test_an_alert_that_starts_on_a_normal_test_row_is_false() -> None:
    run = experiment([False, True])
    alerts = [Alert("r", "valve1_0", int(run.time_us[TRAINING_ROWS]), None)]
    scored = score_rows(run, alert_flags(run, alerts), alerts)
    assert (scored.inside, scored.false_starts) == (False, 1)


def test_a_line_that_is_no_alert_is_refused_with_its_number(tmp_path: Path) -> None:
    good = f'{{"rule":"r","device":"d","started_at":"{format_us(START)}","ended_at":null}}\n'
    file = tmp_path / "alerts.ndjson"
    file.write_text(good + '{"rule":"r"}\n')
    with pytest.raises(AlertsError, match=r"alerts\.ndjson:2"):
        read_alerts(file)
    file.write_text(good + "\n" + good.replace('"r"', '"other"'))
    assert [alert.rule for alert in read_alerts(file, ("r",))] == ["r"]
    assert read_alerts(file)[0] == Alert("r", "d", START, None)


LINES = ("valve1/9,3,1", "valve1/0,9999,1", "valve1/0,-1,1", "x", "valve1/0,a,1")


@pytest.mark.parametrize("line", LINES)
def test_a_prediction_of_no_row_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "p.csv"
    file.write_text(f"file,row,flag\nvalve1/0,401,1\n{line}\n")
    with pytest.raises(PredictionsError, match=r"p\.csv:3"):
        read_predictions(file, [experiment([False, True])])


def test_predictions_flag_the_rows_that_they_name(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("file,row,flag\nvalve1/0,401,1\nvalve1/0.csv,400,0\n")
    masks = read_predictions(file, [experiment([False, True])])
    assert np.flatnonzero(masks["valve1/0.csv"]).tolist() == [401]


def test_readings_are_written_as_the_long_csv_without_what_did_not_come(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    times = START + np.arange(3) * MINUTE
    run = ("d", "main", "power.active", times, np.array([1.5, np.nan, 2.0]))
    assert write_readings(file, "circuit_meter", [run]) == 2
    lines = file.read_text().splitlines()
    assert lines[0] == "time,device,type,channel,metric,value"
    assert lines[1] == f"{format_us(START)},d,circuit_meter,main,power.active,1.5"
    assert len(lines) == 3


def test_a_table_is_printed_with_words_left_numbers_right_and_dashes() -> None:
    table = Table("title", ("what", "n"), (("a", 12.345), ("longer", None), ("b", 0.5)), ("note",))
    assert format_table(table).splitlines() == [
        "title",
        "",
        "what        n",
        "------  -----",
        "a        12.3",
        "longer      -",
        "b       0.500",
        "",
        "note",
    ]
