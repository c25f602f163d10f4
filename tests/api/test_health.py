"""Whether it is ready, why not, and its numbers; and how fast all latest values are given."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

from api.app import create_app
from api.health import status_families
from ingest.clock import Clock
from ingest.inputs import Json
from ingest.status import write_status
from tests.api.community import Community, Value, community
from tests.api.test_api import API, followed, until


def samples(client: TestClient) -> dict[tuple[str, str], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_it_is_alive_and_ready_while_watch_reports(town: Community, client: TestClient) -> None:
    town.alive()
    assert client.get("/healthz").text == "alive\n"
    assert client.get("/readyz").text == "ready\n"


def test_a_watch_that_never_ran_or_fell_silent_is_named(
    town: Community, client: TestClient
) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "watch: it has written no status" in answer.text
    town.alive()
    old = time.time() - 100
    os.utime(town.folder / "status" / "watch.json", (old, old))
    assert "watch: its status is 100 s old" in client.get("/readyz").text
    town.alive()
    write_status(town.folder / "status", "respond", {})
    assert client.get("/readyz").status_code == 200
    os.utime(town.folder / "status" / "respond.json", (old, old))
    assert "respond: its status is 100 s old" in client.get("/readyz").text


def test_a_case_database_that_is_gone_is_named_and_answered_with_503(
    town: Community, client: TestClient
) -> None:
    town.alive()
    town.cases.dispose()
    (town.folder / "cases.db").write_bytes(b"this is no database" * 100)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "cases: the database cannot be read" in answer.text
    listed = client.get(f"{API}/notices")
    assert listed.status_code == 503
    assert listed.headers["content-type"] == "application/problem+json"


def test_a_notice_that_waits_too_long_is_named(town: Community, client: TestClient) -> None:
    town.alive()
    late = town.clock.now_us() - 1_000_000_000
    town.clock = Clock(late)
    town.tell(town.low_pressure())
    assert "outbox: a notice has waited" in client.get("/readyz").text


def test_the_numbers_of_the_processes_are_given(town: Community, client: TestClient) -> None:
    reasons: Json = {"bad_json": 3, "unknown_device": 1}
    drain: Json = {"lag_s": 1.5, "readings": 9, "error": ""}
    town.alive(readings=12, quarantined=reasons, queued=7, drain=drain)
    alert = town.low_pressure()
    followed(client, town.hear(Value("pump-1", "main", "pressure", 1.0), changes=[alert]))
    found = samples(client)
    assert found["courtyard_watch_readings_total", ""] == 12
    assert found["courtyard_watch_quarantined_total", "bad_json"] == 3
    assert found["courtyard_watch_queued", ""] == 7
    assert found["courtyard_watch_drain_lag_s", ""] == 1.5
    assert found["courtyard_watch_drain_readings_total", ""] == 9
    assert found["courtyard_open_alerts", "people,serious"] == 1
    assert found["courtyard_open_alerts", "people,urgent"] == 0
    assert found["courtyard_serve_batch", ""] == 1
    assert found["courtyard_data_age_seconds", ""] >= 0


def test_what_is_no_number_in_a_status_is_left_out() -> None:
    families = status_families(
        "watch", {"text": "a", "none": None, "list": [1], "n-1": 2, "ok": True}
    )
    assert {family.name for family in families} == {"courtyard_watch_n_1", "courtyard_watch_ok"}


def test_a_journal_that_cannot_be_read_is_said_and_the_rest_goes_on(
    town: Community,
) -> None:
    town.alive()
    town.hear(Value("pump-1", "main", "pressure", 340.0))
    with TestClient(create_app(town.parts())) as client:
        followed(client, 1)
        kept = town.folder / "away"
        town.reader.close()
        (town.folder / "journal").rename(kept)
        until(lambda: client.get("/readyz").status_code == 503)
        assert "journal: " in client.get("/readyz").text
        page = client.get("/")
        assert page.status_code == 200
        until(lambda: "暂时读不到日志" in client.get("/").text)
        assert client.get(f"{API}/quarantine").status_code == 503
        kept.rename(town.folder / "journal")
        until(lambda: client.get("/readyz").status_code == 200)


def test_all_latest_values_are_far_cheaper_than_rows_by_the_framework(tmp_path: Path) -> None:
    """1,000 values; the framework's own way, rows as dicts, stands beside it in the same run."""
    devices = "".join(f"\n  - {{id: m{n}, type: circuit_meter}}" for n in range(250))
    site = f"site: {{id: s, name: {{zh: 试, en: Try}}}}\ndevices:{devices}\n"
    metrics = ("power.active", "voltage", "current", "power_factor")
    plain = FastAPI()
    with community(tmp_path, site=site) as town:
        values = [Value(f"m{n}", "main", m, 1.25 * n) for n in range(250) for m in metrics]
        batch = town.hear(*values)
        with TestClient(create_app(town.parts())) as ours:
            followed(ours, batch)
            until(lambda: len(ours.get(f"{API}/latest").json()["value"]) == 1_000)
            columns = ours.get(f"{API}/latest").json()
            names = ("device", "channel", "metric", "unit", "time", "value", "flags")
            rows = [
                dict(zip(names, row, strict=True))
                for row in zip(*(columns[n] for n in names), strict=True)
            ]

            @plain.get("/rows")
            def by_rows() -> list[dict[str, Any]]:
                return rows

            theirs_s, ours_s = asyncio.run(_measured(plain, ours.app))
            ratio = theirs_s / ours_s
    print(f"latest: {ratio:.1f} x as many answers as the framework's default")
    assert ratio > 5


async def _measured(theirs: ASGIApp, ours: ASGIApp, rounds: int = 5) -> tuple[float, float]:
    """Seconds for 20 answers of each, the best of interleaved rounds: this machine is shared."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for which, (app, path) in enumerate(((theirs, "/rows"), (ours, f"{API}/latest"))):
            begin = time.perf_counter()
            for _ in range(20):
                assert await _status(app, path) == 200
            best[which] = min(best[which], time.perf_counter() - begin)
    return best[0], best[1]


async def _status(app: ASGIApp, path: str) -> int:
    """Asks the application itself: a client of ours would cost more than the answer."""
    sent: list[Message] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])
