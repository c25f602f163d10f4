"""Each route: what it answers, and how it says no."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from ingest.clock import US_PER_S, format_us
from ingest.inputs import Presence
from ingest.journal import Quarantined
from ingest.readings import Flag
from tests.api.community import Community, Value

API = "/api/v1"


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def followed(client: TestClient, batch: int) -> None:
    """Waits until the API has seen that batch."""
    until(lambda: client.app.state.desk.view.batch >= batch)  # type: ignore[attr-defined]


def got(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(API + path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: TestClient, path: str, status: int, **query: Any) -> str:
    answer = client.get(API + path, params=query)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    return str(told["detail"])


def test_a_site_names_its_buildings_and_how_they_are(town: Community, client: TestClient) -> None:
    batch = town.hear(Value("pump-1", "main", "pressure", 268.0), changes=[town.low_pressure()])
    followed(client, batch)
    [site] = got(client, "/sites")
    assert site["name"] == {"zh": "日华里小区", "en": "Rihuali"}
    assert site["device_counts"]["pump"] == 1
    assert [(b["id"], b["state"]) for b in site["buildings"]] == [
        ("b7", "serious"),
        ("b8", "silent"),
    ]


def test_devices_are_filtered_and_paged(town: Community, client: TestClient) -> None:
    followed(client, town.hear(Value("post-1", "main", "power.active", 100.0)))
    first = got(client, "/devices", limit=2)
    assert [d["id"] for d in first["items"]] == ["gw-1", "meter-1"]
    second = got(client, "/devices", limit=2, cursor=first["next"])
    assert [d["id"] for d in second["items"]] == ["post-1", "pump-1"]
    assert second["next"] is None
    assert [d["id"] for d in got(client, "/devices", building="b8", state="ok")["items"]] == [
        "post-1"
    ]
    assert [d["id"] for d in got(client, "/devices", type="pump")["items"]] == ["pump-1"]
    assert refused(client, "/devices", 422, limit=0)
    assert refused(client, "/devices", 422, state="sleepy")


def test_a_device_says_what_it_is_and_when_it_was_heard(
    town: Community, client: TestClient
) -> None:
    now_us = town.clock.now_us()
    seen = Presence("rihuali", "post-1", "online", "birth", now_us, now_us)
    followed(client, town.hear(Value("post-1", "main", "power.active", 9.0), presences=[seen]))
    found = got(client, "/devices/post-1")
    assert (found["state"], found["presence"]) == ("ok", "online")
    assert found["heard"].endswith("Z")
    assert "did you mean 'post-1'" in refused(client, "/devices/post1", 404)


def test_latest_values_have_units_words_and_flags(town: Community, client: TestClient) -> None:
    batch = town.hear(
        Value("post-1", "port.1", "state.relay", 1.0),
        Value("post-1", "main", "power.active", 812.4, flags=Flag.TS_MISSING),
        Value("post-1", "main", "temperature", 99.0, flags=Flag.LATE),
    )
    followed(client, batch)
    values = got(client, "/devices/post-1/latest")["values"]
    assert [(v["channel"], v["metric"], v["value"], v["unit"], v["word"]) for v in values] == [
        ("main", "power.active", 812.4, "W", None),
        ("port.1", "state.relay", 1.0, "1", "closed"),
    ]
    assert values[0]["flags"] == ["ts_missing"]
    assert refused(client, "/devices/nobody/latest", 404)


def test_all_latest_values_come_as_equal_columns(town: Community, client: TestClient) -> None:
    followed(client, town.hear(Value("pump-1", "main", "pressure", 340.5, 1_800_000_000_123_456)))
    until(lambda: len(got(client, "/latest")["device"]) == 1)
    assert got(client, "/latest") == {
        "batch": 1,
        "device": ["pump-1"],
        "channel": ["main"],
        "metric": ["pressure"],
        "unit": ["kPa"],
        "time": ["2027-01-15T08:00:00.123Z"],
        "value": [340.5],
        "flags": [0],
    }


def test_history_is_in_steps_of_mean_min_and_max(town: Community, client: TestClient) -> None:
    since_us = (town.clock.now_us() // US_PER_S - 600) * US_PER_S
    town.hear_curve(("pump-1", "main", "pressure"), since_us, 10, [1.0, 3.0, 5.0, 7.0, 9.0, 11.0])
    query = {"channel": "main", "metric": "pressure", "from": format_us(since_us)}
    until_text = format_us(since_us + 60 * US_PER_S)
    found = got(client, "/devices/pump-1/history", **query, to=until_text, points=3)
    assert found["step_s"] == 20.0
    assert found["mean"] == [2.0, 6.0, 10.0]
    assert (found["min"], found["max"]) == ([1.0, 5.0, 9.0], [3.0, 7.0, 11.0])
    assert found["count"] == [2, 2, 2]
    assert found["start"][0] == format_us(since_us)
    quiet = got(client, "/devices/pump-1/history", channel="main", metric="flow")
    assert quiet["start"] == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"from": "yesterday"}, "is no time"),
        ({"from": "2026-01-02", "to": "2026-01-01"}, "must be before"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, "at most 400 days"),
        ({"from": "0001-01-01"}, "between 1970 and 2100"),
        ({"points": "2001"}, "points"),
        ({"points": "0"}, "points"),
        ({"metric": "presure"}, "did you mean 'pressure'"),
    ],
)
def test_a_bad_request_for_history_is_told_what_is_wrong(
    client: TestClient, query: dict[str, str], told: str
) -> None:
    asked = {"channel": "main", "metric": "pressure", **query}
    assert told in refused(client, "/devices/pump-1/history", 422, **asked)


def test_alerts_are_filtered_and_paged_newest_first(town: Community, client: TestClient) -> None:
    old, new = town.low_pressure(ago_s=500), town.low_pressure(ago_s=100)
    over = town.low_pressure(ago_s=900)
    review = town.change(
        "flying_wire_meter", "meter-1", "像", "like", severity="info", audience="review"
    )
    lost = town.change("CP01_post_offline", "post-1", "离", "off", severity="warning", ago_s=300)
    town.hear(changes=[over, old, new, review, lost])
    followed(client, town.hear(changes=[town.later(over, "resolved"), town.later(lost, "unknown")]))

    def listed(**query: Any) -> list[str]:
        return [a["episode"] for a in got(client, "/alerts", **query)["items"]]

    assert listed() == [new.episode, lost.episode, old.episode]
    assert listed(state="resolved") == [over.episode]
    assert listed(audience="review") == [review.episode]
    assert len(listed(state="all", audience="all")) == 5
    assert listed(severity="warning") == [lost.episode]
    assert listed(device="pump-1") == [new.episode, old.episode]
    assert listed(building="b8") == [lost.episode]
    first = got(client, "/alerts", limit=2)
    assert listed(limit=2, cursor=first["next"]) == [old.episode]
    assert "cursor" in refused(client, "/alerts", 422, cursor="nonsense")


def test_an_alert_tells_what_it_saw_and_its_history(town: Community, client: TestClient) -> None:
    alert = town.low_pressure()
    town.hear(changes=[alert])
    followed(client, town.hear(changes=[town.later(alert, "unknown")]))
    found = got(client, f"/alerts/{alert.episode}")
    assert (found["state"], found["building"]) == ("unknown", "b7")
    assert found["evidence"]["values"] == {"pressure": 268.4}
    assert [step["state"] for step in found["steps"]] == ["firing", "unknown"]
    assert found["acknowledged"] is None
    assert refused(client, "/alerts/0000000000000000", 404)


def test_acknowledging_twice_changes_nothing(town: Community, client: TestClient) -> None:
    alert = town.low_pressure()
    town.tell(alert)
    followed(client, town.hear(changes=[alert]))
    path = f"{API}/alerts/{alert.episode}/ack"
    first = client.post(path, json={"who": " 李师傅 ", "comment": "在路上"})
    assert first.status_code == 200
    assert first.json()["acknowledged"]["who"] == "李师傅"
    second = client.post(path, json={"who": "王工"})
    assert second.json()["acknowledged"]["who"] == "李师傅"
    assert [a["kind"] for a in second.json()["actions"]] == ["acknowledge"]
    assert got(client, "/notices")["items"][0]["state"] == "cancelled"
    assert got(client, "/notices", state="waiting")["items"] == []


def test_a_person_may_be_quicker_than_respond(town: Community, client: TestClient) -> None:
    alert = town.low_pressure()
    followed(client, town.hear(changes=[alert]))
    answer = client.post(f"{API}/alerts/{alert.episode}/ack", json={"who": "李"})
    assert answer.status_code == 200


def test_a_form_without_script_comes_back_to_its_page(town: Community, client: TestClient) -> None:
    alert = town.low_pressure()
    followed(client, town.hear(changes=[alert]))
    answer = client.post(
        f"{API}/alerts/{alert.episode}/ack",
        data={"who": "李师傅", "next": "/"},
        headers={"accept": "text/html"},
        follow_redirects=False,
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "李师傅" in client.get("/").text
    comment = client.post(
        f"{API}/alerts/{alert.episode}/comment",
        data={"who": "李师傅", "comment": "看过了", "next": "//evil.example/"},
        follow_redirects=False,
    )
    assert comment.headers["location"] == f"/alerts/{alert.episode}"
    assert "看过了" in client.get(f"/alerts/{alert.episode}").text


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"{", 422, "no JSON"),
        (b"[]", 422, "Acknowledge"),
        (b"{}", 422, "who"),
        (b'{"who": "  "}', 422, "who"),
        (b'{"who": "a", "extra": 1}', 422, "extra"),
        (b'{"who": "' + b"a" * 100_000 + b'"}', 413, ""),
    ],
)
def test_a_bad_acknowledgement_is_told_what_is_wrong(
    town: Community, client: TestClient, body: bytes, status: int, told: str
) -> None:
    alert = town.low_pressure()
    followed(client, town.hear(changes=[alert]))
    answer = client.post(
        f"{API}/alerts/{alert.episode}/ack",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert told in answer.json()["detail"]


def test_other_media_types_and_unknown_alerts_are_refused(
    town: Community, client: TestClient
) -> None:
    alert = town.low_pressure()
    followed(client, town.hear(changes=[alert]))
    path = f"{API}/alerts/{alert.episode}/comment"
    assert (
        client.post(path, content=b"<a/>", headers={"content-type": "text/xml"}).status_code == 415
    )
    assert client.post(path, json={"who": "a", "comment": ""}).status_code == 422
    assert client.post(f"{API}/alerts/none/ack", json={"who": "a"}).status_code == 404
    assert client.post(path, json={"who": "a", "comment": "b"}).status_code == 200
    assert client.delete(path).status_code == 405


def test_quarantine_shows_text_as_text_and_bytes_as_base64(
    town: Community, client: TestClient
) -> None:
    at_us = town.clock.now_us()
    binary = b"\xff\x00" * 10
    entries = [
        Quarantined(at_us, "t/1", "gw-1", "bad_json", "cut off", '{"号'.encode()[:-1], 3),
        Quarantined(at_us, "t/2", "", "bad_utf8", "bytes", binary, 9_000),
        Quarantined(at_us, "t/3", "gw-1", "bad_json", "third", b"{", 1),
    ]
    town.hear(quarantined=entries)
    first = got(client, "/quarantine", limit=2)
    assert [q["topic"] for q in first["items"]] == ["t/3", "t/2"]
    assert first["items"][1]["payload_encoding"] == "base64"
    assert base64.b64decode(first["items"][1]["payload"]) == binary
    [last] = got(client, "/quarantine", limit=2, cursor=first["next"])["items"]
    assert (last["payload"], last["payload_encoding"]) == ('{"', "text")
    assert "cursor" in refused(client, "/quarantine", 422, cursor="x")


def test_notices_say_what_became_of_them(town: Community, client: TestClient) -> None:
    alert = town.low_pressure()
    town.tell(alert)
    [notice] = got(client, "/notices", episode=alert.episode)["items"]
    assert (notice["recipient"], notice["state"], notice["attempts"]) == (
        "li@example.org",
        "waiting",
        0,
    )
    assert notice["sent"] is None
    assert refused(client, "/notices", 422, state="lost")


def test_an_unknown_path_is_a_problem_for_a_program_and_a_page_for_a_browser(
    client: TestClient,
) -> None:
    assert client.get(f"{API}/nothing").headers["content-type"] == "application/problem+json"
    page = client.get("/nothing", headers={"accept": "text/html"})
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
