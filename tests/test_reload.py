"""A rulebook that is edited while the service runs: a good one counts, a broken one does not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from api.rulebooks import BROKEN
from ingest.changes import Change
from ingest.dialects.native import encode_up
from ingest.journal import follow
from ingest.status import read_status
from tests.publisher import Publisher
from tests.servers import Mosquitto
from tests.service import Courtyard, meters_site, wait_for

RULES = """\
rules:
  - {id: high, on: {type: circuit_meter}, when: voltage > 240 V, severity: serious,
     message: {zh: 高, en: high}}
"""


def changes(service: Courtyard) -> list[Change]:
    reader = service.reader()
    try:
        return [change for batch in follow(reader, 0) for change in batch.changes]
    finally:
        reader.close()


def watch_pid(service: Courtyard) -> int | None:
    status = read_status(service.data / "status", "watch")
    return None if status is None else int(str(status["pid"]))


def said(service: Courtyard, rule: str, state: str) -> bool:
    return any(change.rule == rule and change.state == state for change in changes(service))


def speak(mosquitto: Mosquitto, device: str, voltage: float) -> None:
    now_ms = time.time_ns() // 1_000_000
    payload = encode_up("b", now_ms, now_ms, [("main", "voltage", voltage)])
    with Publisher(mosquitto.port) as publisher:
        publisher.publish([(f"courtyard/v1/{device}/up", payload)])


@pytest.mark.timeout(180)
def test_a_broken_rulebook_leaves_the_old_one_in_force_and_says_so(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with Courtyard(tmp_path / "c", mosquitto.url, meters_site(3), RULES) as service:
        service.watching()
        book = service.folder / "rulebook.yaml"
        book.write_text(RULES.replace("voltage >", "volage >"), encoding="utf-8")
        wait_for(lambda: said(service, BROKEN, "firing"), "the mistake is told")
        (told,) = [change for change in changes(service) if change.rule == BROKEN]
        assert f"{book}:2:49" in told.text_en
        assert told.audience == "people"
        speak(mosquitto, "m0", 250.0)
        wait_for(lambda: said(service, "high", "firing"), "the old rule is in force")

        book.write_text(RULES.replace("240", "260"), encoding="utf-8")
        wait_for(lambda: said(service, BROKEN, "resolved"), "the mended file is taken")
        speak(mosquitto, "m1", 250.0)
        speak(mosquitto, "m2", 270.0)
        wait_for(
            lambda: any(c.device == "m2" for c in changes(service)), "the new rule is in force"
        )
        assert not any(c.device == "m1" for c in changes(service))


@pytest.mark.timeout(180)
def test_a_supervised_restart_with_a_broken_rulebook_goes_on_with_the_one_in_force(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with Courtyard(tmp_path / "c", mosquitto.url, meters_site(1), RULES) as service:
        service.start("run")
        first = wait_for(lambda: watch_pid(service), "watch says who it is")
        (service.folder / "rulebook.yaml").write_text("rules: [", encoding="utf-8")
        wait_for(lambda: said(service, BROKEN, "firing"), "the mistake is told")
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: watch_pid(service) not in (None, first), "watch is there again")
        speak(mosquitto, "m0", 250.0)
        wait_for(lambda: said(service, "high", "firing"), "the rule that was in force still is")
