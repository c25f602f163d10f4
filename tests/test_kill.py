"""kill -9 of watch under load: what the broker acknowledged is in history exactly once, and the
changes that recovery computes again are the recorded ones."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest

from ingest.dialects.native import encode_up
from ingest.journal import follow
from ingest.readings import Readings, Series, SeriesTable
from ingest.status import read_status
from ingest.stores.embedded import open_store
from tests.publisher import Message, Publisher
from tests.servers import Mosquitto
from tests.service import Courtyard, kill, meters_site, wait_for

DEVICES = 50
RULES = """\
rules:
  - {id: high, on: {type: circuit_meter}, when: power.active > 500 W, severity: serious,
     message: {zh: 高, en: high}}
  - {id: gone, on: {type: circuit_meter}, kind: absent, after: 5s, severity: warning,
     message: {zh: 失联, en: gone}}
"""


def messages(first: int, count: int, now_ms: int) -> list[Message]:
    """Message n is value n of one device, at a time of its own; each 700th device-value is high."""
    return [
        (
            f"courtyard/v1/m{n % DEVICES}/up",
            encode_up(
                "b1",
                n,
                now_ms + n,
                [
                    ("main", "power.active", 900.0 if n % 700 < 50 else n % 400),
                    ("main", "voltage", n % 300),
                ],
            ),
        )
        for n in range(first, first + count)
    ]


def test_kill_under_load_loses_and_doubles_nothing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    kill_at_random_moments(mosquitto, tmp_path, kills=3, per_kill=4_000)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_twenty_kills_lose_and_double_nothing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    kill_at_random_moments(mosquitto, tmp_path, kills=20, per_kill=6_000)


def kill_at_random_moments(
    mosquitto: Mosquitto, folder: Path, *, kills: int, per_kill: int
) -> None:
    chance = random.Random(20_261_124)
    config = "[keep]\ndrain_seconds = 0.5\nsegment_seconds = 3\n"
    site = meters_site(DEVICES)
    with Courtyard(folder, mosquitto.url, site, RULES, config) as service:
        watch = service.watching()
        clock = __import__("time").time
        now_ms = int(clock() * 1_000) - 60_000
        sent = 0
        with Publisher(mosquitto.port) as publisher:
            for _ in range(kills):
                batch = messages(sent, per_kill, now_ms)
                sent += per_kill
                load = threading.Thread(target=publisher.publish, args=(batch, 2_000.0))
                load.start()
                load.join(chance.uniform(0.1, per_kill / 2_000))
                kill(watch)
                watch = service.watching()
                load.join()
            assert sorted(publisher.acked) == list(range(sent))
        wait_for(lambda: stored(service, sent), "every message is in history", 120)
        status = read_status(service.data / "status", "watch")
        assert status is not None
        assert status["recovery_differences"] == 0
        check_history(service, sent, now_ms)
        watch.terminate()
        assert watch.wait(30) == 0, service.log("watch")
        assert recorded_once(service)


def stored(service: Courtyard, count: int) -> bool:
    status = read_status(service.data / "status", "watch") or {}
    return bool(status.get("drained") == status.get("batch") and total(service) >= 2 * count)


def total(service: Courtyard) -> int:
    store = open_store(service.data / "history")
    try:
        return sum(len(part) for part in store.scan(0, 2**62, SeriesTable()))
    finally:
        store.close()


def check_history(service: Courtyard, count: int, now_ms: int) -> None:
    """Exactly the readings that were sent, each once."""
    table = SeriesTable()
    store = open_store(service.data / "history")
    readings = Readings.concat(list(store.scan(0, 2**62, table)))
    store.close()
    power = np.array([series.metric == "power.active" for series in table.rows])
    times_ms = readings.time_us[power[readings.series]] // 1_000 - now_ms
    assert np.array_equal(np.sort(times_ms), np.arange(count))
    first = table.numbers[Series("bench", "m0", "main", "power.active")]
    assert len(readings.take(readings.series == first)) == (count + DEVICES - 1) // DEVICES


def recorded_once(service: Courtyard) -> bool:
    """No alert was recorded as fired twice."""
    reader = service.reader()
    oldest = max(0, reader.last() - 10_000_000)
    try:
        changes = [change for batch in follow(reader, oldest) for change in batch.changes]
    finally:
        reader.close()
    fired = [change.episode for change in changes if change.state == "firing"]
    return len(fired) == len(set(fired)) > 0
