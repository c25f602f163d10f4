import threading
import time
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest.clock import US_PER_S, Clock
from simulators.fleet import Fleet
from simulators.message import Message
from simulators.publisher import Progress, PublishError, publish
from tests.servers import Mosquitto, free_port, start_relay, wait_until
from tests.simulators.community import EVENING_US, part


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[list[tuple[str, bytes]]]:
    """Everything that the broker passes on, by topic and payload."""
    messages: list[tuple[str, bytes]] = []
    subscribed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, "listener")
    client.on_connect = lambda c, *_: c.subscribe("courtyard/#", 1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _c, _d, m: messages.append((m.topic, bytes(m.payload)))
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    assert subscribed.wait(20)
    yield messages
    client.disconnect()
    client.loop_stop()


def _stream(count: int, gap_us: int = 0) -> Iterator[Message]:
    for number in range(count):
        yield Message(EVENING_US + number * gap_us, "courtyard/v1/gw/up", b"%d" % number)


def test_a_community_arrives_complete_and_in_order(
    mosquitto: Mosquitto, heard: list[tuple[str, bytes]]
) -> None:
    registry = part("gateway", "circuit_meter", building="b06")
    fleet = Fleet(registry, seed=1, start_us=EVENING_US)
    until_us = EVENING_US + 3_600 * US_PER_S
    sent = list(fleet.messages(until_us))
    progress = publish(sent, mosquitto.url, Clock(EVENING_US, 100_000.0))
    assert progress.published == progress.acknowledged == len(sent)
    assert progress.payload_bytes == sum(len(message.payload) for message in sent)
    wait_until(lambda: len(heard) == len(sent), "all messages heard")
    for name in registry.principals:
        mine = [(m.topic, m.payload) for m in sent if m.principal == name]
        assert [one for one in heard if one[0].split("/")[2] == name] == mine


def test_nothing_is_published_before_its_time(mosquitto: Mosquitto) -> None:
    begun = time.monotonic()
    # ten messages, 30 s of the service clock apart, at 300 times the speed
    progress = publish(_stream(10, 30 * US_PER_S), mosquitto.url, Clock(EVENING_US, 300.0))
    assert time.monotonic() - begun >= 9 * 0.1
    assert progress.acknowledged == 10


def test_lag_is_admitted(mosquitto: Mosquitto) -> None:
    clock = Clock(EVENING_US + 100 * US_PER_S)
    told: list[float] = []
    progress = publish(
        _stream(5), mosquitto.url, clock, told=lambda so_far: told.append(so_far.lag_s)
    )
    assert progress.worst_lag_s >= 100
    assert told[-1] >= 100


def test_a_stop_ends_it_early(mosquitto: Mosquitto) -> None:
    stop = threading.Event()
    result: list[Progress] = []
    work = threading.Thread(
        target=lambda: result.append(
            publish(_stream(1_000, US_PER_S), mosquitto.url, Clock(EVENING_US), stop=stop)
        )
    )
    work.start()
    stop.set()
    work.join(30)
    assert not work.is_alive()
    assert result[0].published < 1_000


def test_a_lost_connection_loses_no_message(
    mosquitto: Mosquitto, heard: list[tuple[str, bytes]]
) -> None:
    with start_relay(mosquitto.port) as relay:

        def cut_midway() -> Iterator[Message]:
            for number, message in enumerate(_stream(400)):
                if number == 200:
                    relay.cut()
                yield message

        progress = publish(cut_midway(), relay.url, Clock(), connections=1)
    assert progress.acknowledged >= 400
    assert progress.lost_connections >= 1
    wait_until(lambda: len({body for _, body in heard}) == 400, "every message heard")


def test_a_broker_that_is_not_there_is_named() -> None:
    port = free_port()
    with pytest.raises(PublishError, match=f"no broker at mqtt://127.0.0.1:{port}"):
        publish(_stream(1), f"mqtt://127.0.0.1:{port}", Clock())
    with pytest.raises(PublishError, match="write mqtt://host:port"):
        publish(_stream(1), "http://127.0.0.1", Clock())


def test_a_broker_that_falls_silent_is_told(mosquitto: Mosquitto) -> None:
    with start_relay(mosquitto.port) as relay:

        def then_silence() -> Iterator[Message]:
            for number, message in enumerate(_stream(20)):
                relay.black_hole = number >= 10
                yield message

        with pytest.raises(PublishError, match="not acknowledged within 1 s"):
            publish(then_silence(), relay.url, Clock(), patience_s=1.0, connections=1)
