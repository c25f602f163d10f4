"""A restart or a lost broker is not the silence of all devices, and is told as what it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from api.hearing import AWAY, AWAY_AFTER_S, Hearing
from ingest.dialects.native import encode_up
from ingest.journal import follow
from tests.publisher import Publisher
from tests.servers import Mosquitto
from tests.service import Courtyard, kill, meters_site, wait_for

S = 1_000_000
RULES = """\
rules:
  - {id: gone, on: {type: circuit_meter}, kind: absent, after: 5s, severity: warning,
     message: {zh: 失联, en: gone}}
"""


def test_a_moment_without_a_broker_is_excused_second_by_second() -> None:
    hearing = Hearing()
    assert hearing.look(True, 0) == ()
    assert hearing.look(False, 10 * S) == ()
    (first,) = hearing.look(False, 11 * S)
    (last,) = hearing.look(True, 13 * S)
    assert [c.body["deaf_us"] for c in (first, last)] == [1 * S, 2 * S]
    assert hearing.look(True, 14 * S) == ()


def test_a_long_absence_of_the_broker_is_an_alert_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wall_s = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: wall_s[0])
    hearing = Hearing()
    hearing.look(False, 0)
    wall_s[0] += AWAY_AFTER_S
    _, fired = hearing.look(False, S)
    assert (fired.body["code"], fired.body["state"]) == (AWAY, "firing")
    assert len(hearing.look(False, 2 * S)) == 1
    _, resolved = hearing.look(True, 3 * S)
    assert (resolved.body["code"], resolved.body["state"]) == (AWAY, "resolved")


@pytest.mark.timeout(180)
def test_a_restart_blames_no_device_for_the_time_in_which_nobody_listened(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with Courtyard(tmp_path / "c", mosquitto.url, meters_site(3), RULES) as service:
        watch = service.watching()
        with Publisher(mosquitto.port) as publisher:

            def speak(count: int) -> None:
                for n in range(3):
                    row = ("main", "voltage", 230.0 + count)
                    payload = encode_up("b", count, time.time_ns() // 1_000_000, [row])
                    publisher.publish([(f"courtyard/v1/m{n}/up", payload)])

            speak(1)
            reader = wait_for(lambda: service.reader(), "the journal is there")
            wait_for(lambda: sum(len(b.inputs.readings) for b in follow(reader, 0)) == 3, "heard")
            kill(watch)
            time.sleep(7)  # longer than the rule's `after`
            service.watching()
            speak(2)
            wait_for(lambda: sum(len(b.inputs.readings) for b in follow(reader, 0)) == 6, "heard")
            changes = [change for batch in follow(reader, 0) for change in batch.changes]
            reader.close()
        assert [change for change in changes if change.state == "firing"] == []
