"""The live stream: what comes, in which order, and how a client takes it up again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2 as httpx
import pytest
from starlette.testclient import TestClient

from api import live
from api.app import create_app
from api.live import QUEUE, RESYNC, Client, CrowdedError, Hub
from ingest.journal import Batch
from tests.api.community import Community, Value, community, served
from tests.api.test_api import API

LIVE = f"{API}/live"


class Event(NamedTuple):
    name: str
    id: str
    data: Any


@contextmanager
def listening(base: str, after: int | None = None, **query: str) -> Iterator[Iterator[Event]]:
    headers = {} if after is None else {"last-event-id": str(after)}
    timeout = httpx.Timeout(30.0)
    with (
        httpx.Client(timeout=timeout) as client,
        client.stream("GET", base + LIVE, headers=headers, params=query) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        yield events(answer.iter_lines())


def events(lines: Iterator[str]) -> Iterator[Event]:
    found: dict[str, str] = {}
    for line in lines:
        if not line:
            if "event" in found:
                yield Event(found["event"], found.get("id", ""), json.loads(found["data"]))
            found = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            found[name] = value


def next_of(stream: Iterator[Event], name: str) -> Event:
    return next(event for event in stream if event.name == name)


def test_changes_and_values_come_as_they_happen(town: Community) -> None:
    with served(town.parts()) as base, listening(base) as stream:
        next_of(stream, "tick")  # now we surely listen
        alert = town.low_pressure()
        batch = town.hear(Value("pump-1", "main", "pressure", 268.0), changes=[alert])
        told = next_of(stream, "alert")
        assert told.data["episode"] == alert.episode
        assert told.data["batch"] == batch
        assert int(told.id) <= batch
        values = next_of(stream, "latest")
        assert (values.data["device"], values.data["value"]) == (["pump-1"], [268.0])
        assert values.id == str(batch)
        who = {"who": "李"}
        httpx.post(f"{base}{API}/alerts/{alert.episode}/ack", json=who).raise_for_status()
        done = next_of(stream, "action")
        assert done.data == {"episode": alert.episode, "kind": "acknowledge", "who": "李"}
        assert done.id == ""


def test_a_client_that_comes_back_gets_what_it_missed(town: Community) -> None:
    first = town.hear(Value("pump-1", "main", "pressure", 340.0))
    missed = [town.low_pressure(ago_s=100 - n) for n in range(3)]
    for alert in missed:
        town.hear(changes=[alert])
    with served(town.parts()) as base:
        with listening(base, after=first) as stream:
            got = [next_of(stream, "alert") for _ in missed]
            assert [event.data["episode"] for event in got] == [a.episode for a in missed]
            assert [int(event.id) for event in got] == [2, 3, 4]
            late = town.low_pressure(ago_s=1)
            town.hear(changes=[late])
            assert next_of(stream, "alert").data["episode"] == late.episode
        with listening(base, topics="alerts", after=4) as stream:
            assert next_of(stream, "alert").data["episode"] == late.episode


def test_nothing_is_lost_between_two_streams(town: Community) -> None:
    """However often a client comes back with the last id that it saw, it sees every alert."""
    with served(town.parts()) as base:
        seen: list[str] = []
        expected: list[str] = []
        last = 0
        for round in range(4):
            for _ in range(3):
                alert = town.low_pressure(ago_s=90 - len(expected))
                expected.append(alert.episode)
                town.hear(Value("pump-1", "main", "pressure", 1.0 + round), changes=[alert])
            with listening(base, after=last) as stream:
                while set(seen) != set(expected):
                    event = next(stream)
                    if event.name == "alert":
                        seen.append(event.data["episode"])
                        last = int(event.id)
        assert set(seen) == set(expected)


@pytest.mark.parametrize("after", [999, 0])
def test_a_client_that_cannot_resume_starts_over(
    town: Community, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RESUME_BATCHES", 2)
    for _ in range(5):
        town.hear(Value("pump-1", "main", "pressure", 1.0))
    with served(town.parts()) as base, listening(base, after=after) as stream:
        assert next(stream).name == "tick"
        event = next(stream)
        assert (event.name, event.data, event.id) == ("resync", {"batch": 5}, "5")


def test_topics_are_only_those_that_were_asked_for(
    town: Community, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "TICK_EVERY_S", 0.2)
    with served(town.parts()) as base, listening(base, topics="tick,alerts") as stream:
        next_of(stream, "tick")
        town.hear(Value("pump-1", "main", "pressure", 1.0))
        alert = town.low_pressure()
        town.hear(changes=[alert])
        assert next(e for e in stream if e.name != "tick").name == "alert"
        second = next_of(stream, "tick")
        assert second.data["age_s"] >= 0


def test_a_wrong_topic_and_a_wrong_number_are_refused(client: TestClient) -> None:
    assert client.get(LIVE, params={"topics": "gossip"}).status_code == 422
    assert client.get(LIVE, params={"after": "x"}).status_code == 422


def test_a_client_that_does_not_keep_up_is_told_to_start_over() -> None:
    client = Client(frozenset({"alerts"}))
    for number in range(QUEUE):
        client.put(str(number).encode())
    assert client.queue.qsize() == QUEUE
    client.put(b"one too many")
    assert client.queue.qsize() == 1
    assert client.queue.get_nowait() == RESYNC
    client.put(b"next")
    assert client.queue.get_nowait() == b"next"


def test_an_event_is_encoded_once_and_the_same_bytes_go_to_all() -> None:
    hub = Hub()
    clients = [hub.join(frozenset({"alerts"})) for _ in range(3)]
    other = hub.join(frozenset({"tick"}))
    event = live.encode("alert", {"a": 1}, 7)
    hub.tell("alerts", event)
    assert all(client.queue.get_nowait() is event for client in clients)
    assert other.queue.empty()
    assert event == b'event: alert\nid: 7\ndata: {"a":1}\n\n'


def test_there_is_a_limit_to_the_clients() -> None:
    hub = Hub()
    clients = [hub.join(frozenset()) for _ in range(live.CLIENTS)]
    with pytest.raises(CrowdedError, match="500 live streams"):
        hub.join(frozenset())
    hub.leave(clients[0])
    hub.join(frozenset())


async def test_silence_is_filled_with_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEEP_ALIVE_S", 0.01)
    hub = Hub()
    client = hub.join(frozenset())
    stream = live.stream(hub, client, [b"first"])
    assert await anext(stream) == b"retry: 3000\n\nfirst"
    assert await anext(stream) == live.KEEP_ALIVE
    hub.close()
    assert [event async for event in stream] == []
    assert hub.clients == set()


async def test_closing_ends_every_stream() -> None:
    hub = Hub()
    streams = [live.stream(hub, hub.join(frozenset()), []) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    hub.close()
    async with asyncio.timeout(10):
        for stream in streams:
            assert [event async for event in stream] == []


def test_a_client_of_a_journal_that_forgot_starts_over(tmp_path: Path) -> None:
    class Forgetful:
        def read(self, after: int, limit: int = 1_000) -> list[Batch]:
            raise LookupError(f"batch {after + 1} is no longer kept")

    assert live.read_missed(Forgetful(), 1, 5) is None  # type: ignore[arg-type]
    with community(tmp_path) as town:
        town.hear(Value("pump-1", "main", "pressure", 1.0))
        town.hear(Value("pump-1", "main", "pressure", 2.0))
        batches = live.read_missed(town.reader, 0, 1)
        assert batches is not None
        assert [batch.number for batch in batches] == [1]


def test_the_application_stops_while_somebody_listens(town: Community) -> None:
    with served(town.parts()) as base, listening(base) as stream:
        next_of(stream, "tick")
    with TestClient(create_app(town.parts())) as client:
        assert client.get("/healthz").text == "alive\n"
