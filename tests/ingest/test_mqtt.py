import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import Clock
from ingest.deliveries import Delivery, Waiting
from ingest.dialect import Inbound
from ingest.mqtt import NOT_UTF8, Listener, MqttConfig, parse_url
from tests.publisher import Publisher
from tests.raw_broker import RawBroker
from tests.servers import Mosquitto, Relay, free_port, start_mosquitto, wait_until

FILTERS = ("courtyard/v1/+/up",)
TOPIC = "courtyard/v1/m1/up"
Version = Literal["auto", "5", "3.1.1"]
both_versions = pytest.mark.parametrize("version", ["5", "3.1.1"])


@contextmanager
def listening(url: str, *, epoch: int = 0, **changes: Any) -> Iterator[Listener]:
    listener = Listener(MqttConfig(url, FILTERS, **changes), Clock(), epoch=epoch)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


def connected(listener: Listener) -> Callable[[], bool]:
    return lambda: listener.connected


def subscribed(broker: Mosquitto, listener: Listener) -> None:
    """Waits until a message of ours arrives: only then has the broker taken the subscription."""
    wait_until(connected(listener), "connected")
    with Publisher(broker.port, "probe") as publisher:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            publisher.publish([(TOPIC, b"probe")])
            if taken := listener.take(1_000, 0.2).deliveries:
                listener.ack(taken)
                break
    quiet = time.monotonic()
    while time.monotonic() < quiet + 0.2:
        listener.ack(listener.take(1_000, 0.05).deliveries)


def take_all(listener: Listener, payloads: set[bytes], *, ack: bool = True) -> list[Delivery]:
    """Takes until every payload has come; redelivered copies are in the list too."""
    got: list[Delivery] = []
    missing = set(payloads)

    def more() -> bool:
        taken = listener.take(1_000, 0.1).deliveries
        if ack:
            listener.ack(taken)
        got.extend(taken)
        missing.difference_update(d.inbound.payload for d in taken)
        return not missing

    wait_until(more, "every message has come")
    return got


def numbered(n: int, prefix: str = "n") -> list[tuple[str, bytes]]:
    return [(TOPIC, f"{prefix}{row}".encode()) for row in range(n)]


def payloads(messages: list[tuple[str, bytes]]) -> set[bytes]:
    return {payload for _, payload in messages}


@both_versions
def test_messages_come_in_order_with_growing_arrivals(
    mosquitto: Mosquitto, version: Version
) -> None:
    with listening(mosquitto.url, protocol=version) as listener:
        subscribed(mosquitto, listener)
        messages = numbered(2_000)
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(messages)
        got = take_all(listener, payloads(messages))
        assert [d.inbound.payload for d in got] == [payload for _, payload in messages]
        arrivals = [d.inbound.arrival_us for d in got]
        assert all(a < b for a, b in pairwise(arrivals))
        assert {d.inbound.topic for d in got} == {TOPIC}
        assert listener.protocol == version


@both_versions
def test_what_was_not_acknowledged_comes_again_to_the_next_run(
    mosquitto: Mosquitto, version: Version
) -> None:
    with listening(mosquitto.url, protocol=version) as listener:
        subscribed(mosquitto, listener)
        messages = numbered(10)
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(messages)
        first = take_all(listener, payloads(messages), ack=False)
        listener.ack(first[:4])
        epoch = first[0].epoch
        assert epoch == 1
    with listening(mosquitto.url, protocol=version, epoch=epoch) as listener:
        again = take_all(listener, payloads(messages[4:]))
        assert [d.inbound.payload for d in again] == [payload for _, payload in messages[4:]]
        assert all(d.inbound.dup for d in again)
        assert [d.mid for d in again] == [d.mid for d in first[4:]]
        assert {d.epoch for d in again} == {epoch}  # the session went on
        assert listener.counters.lost_sessions == 0


def test_a_run_that_was_aborted_acknowledges_nothing_more(mosquitto: Mosquitto) -> None:
    with listening(mosquitto.url) as listener:
        subscribed(mosquitto, listener)
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(numbered(5))
        got = take_all(listener, payloads(numbered(5)), ack=False)
        listener.abort()
        listener.ack(got)
        assert not listener.connected
    with listening(mosquitto.url) as listener:
        assert len(take_all(listener, payloads(numbered(5)))) == 5


def test_qos_0_is_counted_and_never_acknowledged(raw_broker: RawBroker) -> None:
    with listening(raw_broker.url) as listener:
        raw_broker.wait_for("subscribe")
        raw_broker.publish(TOPIC.encode(), b"zero", qos=0)
        raw_broker.publish(TOPIC.encode(), b"one", 7)
        take_all(listener, {b"zero", b"one"})
        raw_broker.wait_for("puback 7")
        assert raw_broker.pubacks() == [7]
        assert (listener.counters.received, listener.counters.received_qos0) == (2, 1)


@both_versions
def test_acknowledgements_go_out_after_ack_and_in_the_order_of_receipt(
    raw_broker: RawBroker, version: Version
) -> None:
    with listening(raw_broker.url, protocol=version) as listener:
        raw_broker.wait_for("subscribe")
        mids = [5, 3, 9, 1]
        for mid in mids:
            raw_broker.publish(TOPIC.encode(), f"{mid}".encode(), mid)
        got = take_all(listener, {b"5", b"3", b"9", b"1"}, ack=False)
        assert raw_broker.pubacks() == []
        listener.ack(got[:3])
        listener.ack(got[3:])
        raw_broker.wait_for("puback", 4)
        assert raw_broker.pubacks() == mids


def test_a_new_connection_never_acknowledges_for_an_old_one(raw_broker: RawBroker) -> None:
    with listening(raw_broker.url) as listener:
        raw_broker.wait_for("subscribe")
        raw_broker.publish(TOPIC.encode(), b"old", 1)
        old = take_all(listener, {b"old"}, ack=False)
        raw_broker.session_present = True
        raw_broker.hang_up()
        raw_broker.wait_for("connect 5", 2)
        wait_until(connected(listener), "connected again")
        listener.ack(old)
        raw_broker.publish(TOPIC.encode(), b"old", 1, dup=True)
        again = take_all(listener, {b"old"})
        raw_broker.wait_for("puback 1")
        assert raw_broker.pubacks() == [1]
        assert (old[0].epoch, again[0].epoch) == (1, 1)
        assert again[0].inbound.dup
        assert listener.counters.stale_acknowledgements == 1
        assert sum(line.startswith("subscribe") for line in raw_broker.log) == 1


def test_a_lost_session_begins_an_epoch_and_subscribes_again(raw_broker: RawBroker) -> None:
    with listening(raw_broker.url, epoch=4) as listener:
        raw_broker.wait_for("subscribe")
        raw_broker.publish(TOPIC.encode(), b"old", 1)
        wait_until(lambda: listener.queued, "the message waits")
        raw_broker.hang_up()
        raw_broker.wait_for("subscribe", 2)
        raw_broker.publish(TOPIC.encode(), b"new", 1)
        got = take_all(listener, {b"old", b"new"})
        raw_broker.wait_for("puback 1")
        # the message of the lost session was acknowledged to its sender, so it is kept; but its
        # id belongs to another message now
        assert [(d.inbound.payload, d.epoch) for d in got] == [(b"old", 5), (b"new", 6)]
        assert raw_broker.pubacks() == [1]
        assert listener.counters.lost_sessions == 2


@pytest.mark.parametrize("how", ["silence", "refuse", "hang up"])
def test_auto_falls_back_to_3_1_1_and_stays_there(
    raw_broker: RawBroker, how: Literal["silence", "refuse", "hang up"]
) -> None:
    raw_broker.v5 = how
    with listening(raw_broker.url, connack_s=0.3) as listener:
        raw_broker.wait_for("subscribe")
        assert listener.protocol == "3.1.1"
        raw_broker.hang_up()
        raw_broker.wait_for("subscribe", 2)
        said = [line for line in raw_broker.log if line.startswith("connect")]
        assert said == ["connect 5", "connect 4", "connect 4"]


def test_a_demanded_version_is_the_only_one_tried(raw_broker: RawBroker) -> None:
    raw_broker.v5 = "refuse"
    with listening(raw_broker.url, protocol="5") as listener:
        raw_broker.wait_for("connect 5", 3)
        assert "connect 4" not in raw_broker.log
        assert "Unsupported protocol version" in listener.problem


def test_a_refusal_for_another_reason_does_not_change_the_version(raw_broker: RawBroker) -> None:
    raw_broker.refuse_with = 0x87
    with listening(raw_broker.url) as listener:
        raw_broker.wait_for("connect 5", 3)
        assert "connect 4" not in raw_broker.log
        assert "Not authorized" in listener.problem


@both_versions
def test_a_topic_that_is_not_utf8_is_delivered_with_its_reason(
    raw_broker: RawBroker, version: Version
) -> None:
    with listening(raw_broker.url, protocol=version) as listener:
        raw_broker.wait_for("subscribe")
        raw_broker.publish(b"courtyard/v1/\xff\xfe/up", b"bad", 1)
        raw_broker.publish(TOPIC.encode(), b"good", 2)
        bad, good = take_all(listener, {b"bad", b"good"})
        assert (bad.refused, bad.inbound.topic) == (NOT_UTF8, r"courtyard/v1/\xff\xfe/up")
        assert (good.refused, good.inbound.topic) == ("", TOPIC)
        raw_broker.wait_for("puback", 2)
        assert listener.counters.lost_connections == 0


def test_garbage_from_the_broker_ends_a_connection_and_not_the_listener(
    raw_broker: RawBroker,
) -> None:
    with listening(raw_broker.url, protocol="3.1.1") as listener:
        raw_broker.wait_for("subscribe")
        for garbage in (b"\x32\x02\x00\x00", b"\xf0\x00", b"\x32\x05\x00\x09ab\x00", b"\x90\x00"):
            before = raw_broker.log.count("connect 4")
            raw_broker.send(garbage)
            raw_broker.hang_up()
            raw_broker.wait_for("connect 4", before + 1)
            wait_until(connected(listener), "connected again")
        raw_broker.wait_for("subscribe", 5)
        raw_broker.publish(TOPIC.encode(), b"good", 2)
        take_all(listener, {b"good"})


def test_a_full_queue_holds_the_broker_back_and_loses_nothing(mosquitto: Mosquitto) -> None:
    with listening(mosquitto.url, max_queued_messages=100) as listener:
        subscribed(mosquitto, listener)
        messages = numbered(1_500)
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(messages)
        wait_until(lambda: listener.queued == 100, "the queue is full")
        time.sleep(0.3)
        assert listener.queued == 100
        got = take_all(listener, payloads(messages))
        assert [d.inbound.payload for d in got] == [payload for _, payload in messages]
        assert listener.counters.pauses == 0


def test_a_queue_that_stays_full_gives_up_the_connection_and_loses_nothing(
    mosquitto: Mosquitto,
) -> None:
    with listening(mosquitto.url, max_queued_messages=100, keepalive_s=1) as listener:
        subscribed(mosquitto, listener)
        messages = numbered(600)
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(messages)
        wait_until(lambda: listener.counters.pauses == 1, "the connection is given up")
        assert listener.queued == 100
        assert "full" in listener.problem
        time.sleep(0.5)
        assert not listener.connected  # it comes back when the queue is half empty
        take_all(listener, payloads(messages))
        assert listener.counters.connections >= 2
        assert listener.counters.lost_sessions == 0


def test_a_queue_is_full_by_bytes_too(mosquitto: Mosquitto) -> None:
    with listening(mosquitto.url, max_queued_bytes=1_000_000) as listener:
        subscribed(mosquitto, listener)
        messages = [(TOPIC, f"{row:03d}".encode() * 10_000) for row in range(100)]
        with Publisher(mosquitto.port) as publisher:
            publisher.publish(messages)
        wait_until(lambda: listener.queued >= 30, "the queue is full")
        time.sleep(0.2)
        assert listener.queued < 50
        assert len(take_all(listener, payloads(messages))) == 100


@both_versions
def test_an_orderly_restart_of_the_broker_loses_nothing(
    saving_mosquitto: Mosquitto, version: Version
) -> None:
    broker = saving_mosquitto
    with listening(broker.url, protocol=version) as listener:
        subscribed(broker, listener)
        before, after = numbered(500, "before"), numbered(500, "after")
        with Publisher(broker.port) as publisher:
            publisher.publish(before)
        broker.restart()
        with Publisher(broker.port) as publisher:
            publisher.publish(after)
        take_all(listener, payloads(before) | payloads(after))
        assert listener.counters.lost_sessions == 0


def test_faults_on_the_way_lose_nothing(saving_mosquitto: Mosquitto, relay: Relay) -> None:
    with listening(relay.url, keepalive_s=1) as listener:
        subscribed(saving_mosquitto, listener)
        messages = numbered(3_000)
        relay.latency_s = 0.002
        with Publisher(saving_mosquitto.port) as publisher:
            publisher.publish(messages[:1_000])
            relay.cut()
            publisher.publish(messages[1_000:2_000])
            wait_until(lambda: listener.counters.connections == 2, "connected again")
            relay.black_hole = True
            publisher.publish(messages[2_000:])
            wait_until(lambda: not listener.connected, "silence is noticed by the keepalive")
            relay.black_hole = False
        take_all(listener, payloads(messages))
        assert listener.counters.connections >= 3
        assert listener.counters.lost_sessions == 0


@both_versions
def test_announcements_are_retained_for_whoever_comes_later(
    mosquitto: Mosquitto, version: Version
) -> None:
    said = (("courtyard/v1/m1/up", b"what is so"),)
    with listening(mosquitto.url, protocol=version, announce=said) as listener:
        subscribed(mosquitto, listener)
    with listening(mosquitto.url, client_id="later") as listener:
        (heard,) = take_all(listener, {b"what is so"})
        assert heard.inbound.retain


def test_a_broker_that_starts_later_is_found(tmp_path: Any) -> None:
    with start_mosquitto(tmp_path) as broker:
        broker.stop()
        with listening(broker.url) as listener:
            wait_until(lambda: "cannot reach" in listener.problem, "the problem is told")
            broker.start()
            subscribed(broker, listener)
            assert listener.problem == ""


def test_messages_that_the_broker_dropped_are_counted(tmp_path: Any) -> None:
    few = "max_queued_messages 10\nmax_inflight_messages 10"
    broker = Mosquitto(tmp_path, extra=few)
    broker.start()
    try:
        with listening(broker.url, max_queued_messages=20) as listener:
            subscribed(broker, listener)
            # the first figure is what was dropped before our time
            wait_until(lambda: listener._dropped is not None, "the broker tells what it dropped")
            with Publisher(broker.port) as publisher:
                publisher.publish(numbered(500))

            def dropped() -> bool:
                listener.ack(listener.take(1, 0.01).deliveries)
                return listener.counters.broker_dropped > 0

            wait_until(dropped, "drops are counted")
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "tls"),
    [
        ("mqtt://127.0.0.1", "127.0.0.1", 1883, None, False),
        ("mqtt://watch@broker:1884", "broker", 1884, "watch", False),
        ("mqtts://a%40b:secret@broker", "broker", 8883, "a@b", True),
    ],
)
def test_urls_name_host_port_user_and_tls(
    url: str, host: str, port: int, user: str | None, tls: bool
) -> None:
    address = parse_url(url)
    assert (address.host, address.port, address.user, address.tls) == (host, port, user, tls)


def test_a_wrong_url_says_how_to_write_it_and_not_the_password() -> None:
    with pytest.raises(ValueError, match="mqtt://user@host:port") as caught:
        parse_url("http://me:secret@broker")
    assert "secret" not in str(caught.value)


def test_nobody_there_stops_at_once() -> None:
    with listening(f"mqtt://127.0.0.1:{free_port()}") as listener:
        wait_until(lambda: "cannot reach" in listener.problem, "the problem is told")
    assert not listener._thread.is_alive()


def delivery(waiting: Waiting, size: int = 0) -> Delivery:
    return Delivery(Inbound("t", bytes(size), waiting.stamp()))


@given(st.lists(st.integers(-3, 4), max_size=60), st.integers(1, 5))
def test_nothing_arrives_at_or_before_a_time_that_was_taken(steps: list[int], limit: int) -> None:
    """Negative steps put the clock back; positive ones put so many messages in; zero takes."""
    clock = _Hands()
    waiting = Waiting(clock, 10**6, 10**9, after_us=1_000)  # type: ignore[arg-type]  # has now_us
    last = 1_000
    order: list[int] = []
    for step in steps:
        clock.us += step * 3
        with waiting.lock:
            for _ in range(max(0, step)):
                waiting.put(delivery(waiting))
        if step == 0:
            taken = waiting.take(limit, 0.0)
            arrivals = [d.inbound.arrival_us for d in taken.deliveries]
            assert all(last < arrival <= taken.now_us for arrival in arrivals)
            assert taken.now_us >= last
            last, order = taken.now_us, order + arrivals
    assert order == sorted(set(order))


class _Hands:
    """A clock that is set by hand."""

    us = 1_000

    def now_us(self) -> int:
        return self.us


def test_arrivals_grow_while_other_threads_put_and_take() -> None:
    waiting = Waiting(Clock(), 10**6, 10**9)

    def put() -> None:
        for _ in range(2_000):
            with waiting.lock:
                waiting.put(delivery(waiting))

    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    got: list[int] = []
    last = 0

    def take() -> bool:
        nonlocal last
        taken = waiting.take(100, 0.01)
        arrivals = [d.inbound.arrival_us for d in taken.deliveries]
        assert all(last < arrival <= taken.now_us for arrival in arrivals)
        last = taken.now_us
        got.extend(arrivals)
        return len(got) == 6_000

    wait_until(take, "all are taken")
    for thread in threads:
        thread.join()
    assert got == sorted(set(got))
