"""From a real recording to a delivered mail: broker, journal, rules, history, page, SMTP."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulators.recorded import circuit_recordings, pump_recording
from tests.recordings import play
from tests.servers import Mosquitto

RECORDINGS = os.environ.get("COURTYARD_RECORDINGS")
needs_recordings = pytest.mark.skipif(
    RECORDINGS is None, reason="COURTYARD_RECORDINGS names no folder of recordings"
)


@needs_recordings
@pytest.mark.timeout(600)
def test_a_recorded_pump_is_stored_alerted_and_mailed(mosquitto: Mosquitto, tmp_path: Path) -> None:
    data = Path(str(RECORDINGS)) / "data"
    pump = pump_recording(data / "skab" / "valve1" / "9.csv")
    picture = tmp_path / "crew.png"
    played = play([pump], mosquitto, tmp_path / "service", 60.0, picture, tolerance_s=0.0)
    assert played.stored == played.expected == pump.readings
    assert played.score.found >= 1, played.figures()
    assert played.mails, played.figures()
    told = [alert for alert in played.alerts if alert["audience"] == "people"]
    subjects = [str(mail["Subject"]) for mail in played.mails]
    assert all(any(alert["text"]["en"] in subject for subject in subjects) for alert in told)
    assert told
    assert all(mail["To"] == "duty@courtyard.example" for mail in played.mails)
    assert picture.stat().st_size > 10_000


@needs_recordings
@pytest.mark.timeout(600)
def test_recorded_circuits_are_stored_and_judged(mosquitto: Mosquitto, tmp_path: Path) -> None:
    data = Path(str(RECORDINGS)) / "data"
    circuits = circuit_recordings(data, seed=1, count=4)
    played = play(circuits, mosquitto, tmp_path / "service", 1_200.0)
    assert played.stored == played.expected
    review = [alert for alert in played.alerts if alert["rule"] == "flying_wire_meter"]
    assert all(alert["audience"] == "review" for alert in review)
    # meter evidence alone is for the review queue: nobody is mailed but about the silence after
    # the recordings' end
    subjects = [str(mail["Subject"]) for mail in played.mails]
    assert [subject for subject in subjects if not subject.endswith("offline")] == []
