from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faults import Truth
from simulators.score import Alert, finds, read_alerts, read_truth, score

START = datetime(2026, 11, 24, 10, tzinfo=UTC)


def _at(minute: int) -> str:
    return (START + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _truth(fault: str, device: str, begin: int, end: int) -> Truth:
    return Truth(device, fault, _at(begin), _at(end))


def _alert(rule: str, device: str, begin: int) -> Alert:
    return Alert(rule, device, _at(begin))


def test_a_rule_answers_the_fault_whose_code_it_bears() -> None:
    assert finds("C01_flying_wire", "C01")
    assert finds("flying_wire_meter", "C01_unseen")
    assert finds("P10_supply_pressure_low", "P10")
    assert finds("P03_flow_low", "skab_valve1-0")
    assert not finds("CP01_post_offline", "C01")
    assert not finds("P1_other", "P10")
    assert not finds("flying_wire_meter", "C02")


def test_recall_precision_and_delay_are_counted() -> None:
    truth = [_truth("P10", "supply-1", 0, 60), _truth("V04", "cam-f01", 10, 40)]
    alerts = [
        _alert("P10_supply_pressure_low", "supply-1", 3),
        _alert("P10_supply_pressure_low", "supply-1", 30),
        _alert("P06_vibration", "supply-1", 20),
        _alert("V04_black", "cam-f02", 12),
    ]
    result = score(truth, alerts)
    assert result.recall == 0.5
    assert [match.delay_s for match in result.matches] == [180.0, None]
    assert result.true_alerts == 2
    assert [alert.rule for alert in result.beside] == ["P06_vibration"]
    assert [alert.device for alert in result.false] == ["cam-f02"]
    assert result.precision == pytest.approx(2 / 3)
    text = result.text()
    assert "faults found 1 of 2 (recall 0.500)" in text
    assert "P10_supply_pressure_low" in text


def test_an_alert_before_the_fault_or_long_after_is_false() -> None:
    truth = [_truth("P10", "supply-1", 10, 20)]
    early, late = _alert("P10_x", "supply-1", 9), _alert("P10_x", "supply-1", 51)
    in_time = _alert("P10_x", "supply-1", 50)
    assert score(truth, [early, late]).false == (early, late)
    assert score(truth, [in_time]).found == 1
    assert score(truth, [in_time], tolerance_s=60).found == 0


def test_what_is_behind_a_silent_gateway_is_not_false() -> None:
    truth = [_truth("N01", "gw", 0, 30)]
    alerts = [_alert("N01_gateway_offline", "gw", 3), _alert("C14_meter_offline", "m-1", 15)]
    assert score(truth, alerts).false == (alerts[1],)
    result = score(truth, alerts, gateways={"m-1": "gw", "m-2": "other"})
    assert (result.false, result.beside) == ((), (alerts[1],))


def test_faults_of_the_wire_expect_no_alert() -> None:
    result = score([_truth("N07_unset_clock", "m-b01-1", 0, 60)], [])
    assert result.matches == ()
    assert result.recall is None
    assert result.precision is None
    assert "no alert expected for: N07_unset_clock" in result.text()


RULES = st.sampled_from(["P10_low", "C01_flying_wire", "flying_wire_meter", "V04_black"])
DEVICES = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(st.tuples(st.sampled_from(["P10", "C01", "V04"]), DEVICES, st.integers(0, 500))),
    st.lists(st.tuples(RULES, DEVICES, st.integers(0, 600))),
)
def test_every_alert_is_counted_once(
    planted: list[tuple[str, str, int]], told: list[tuple[str, str, int]]
) -> None:
    truth = [_truth(fault, device, begin, begin + 30) for fault, device, begin in planted]
    alerts = {_alert(rule, device, begin) for rule, device, begin in told}
    result = score(truth, alerts)
    assert result.true_alerts + len(result.beside) + len(result.false) == len(alerts)
    naive = sum(
        any(
            alert.device == one.device
            and finds(alert.rule, one.fault)
            and one.started_at <= alert.started_at
            and datetime.fromisoformat(alert.started_at)
            <= datetime.fromisoformat(one.ended_at) + timedelta(minutes=30)
            for alert in alerts
        )
        for one in truth
    )
    assert result.found == naive


def test_files_are_read_and_their_mistakes_told_by_line(tmp_path: Path) -> None:
    file = tmp_path / "alerts.ndjson"
    file.write_text(
        '{"rule":"P10_x","device":"a","channel":"main","severity":"serious",'
        f'"started_at":"{_at(1)}","ended_at":null,"episode":"00","evidence":{{}}}}\n\n'
    )
    assert read_alerts(file) == [_alert("P10_x", "a", 1)]
    file.write_text('{"device":"a"}\n')
    with pytest.raises(ValueError, match=r"alerts.ndjson:1 lacks rule, started_at"):
        read_alerts(file)
    file.write_text(f'{{"device":"a","fault":"P10","started_at":"{_at(1)}","ended_at":"x"}}\n')
    with pytest.raises(ValueError, match=r"alerts.ndjson:1 ended_at"):
        read_truth(file)
    file.write_text("{\n")
    with pytest.raises(ValueError, match=r"alerts.ndjson:1 is no JSON object"):
        read_truth(file)
