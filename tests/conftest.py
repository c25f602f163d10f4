"""Servers that tests ask for by name. A missing one fails the test; it does not skip it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.raw_broker import RawBroker
from tests.servers import Mosquitto, Relay, start_mosquitto, start_relay

# a submission is judged by the same examples each time; at a desk every run looks further
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """An empty broker that forgets everything when it ends."""
    with start_mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def saving_mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that keeps sessions and queues over an orderly restart."""
    with start_mosquitto(tmp_path, persistent=True) as broker:
        yield broker


@pytest.fixture
def relay(saving_mosquitto: Mosquitto) -> Iterator[Relay]:
    """A spoilt way to `saving_mosquitto`."""
    with start_relay(saving_mosquitto.port) as way:
        yield way


@pytest.fixture
def raw_broker() -> Iterator[RawBroker]:
    broker = RawBroker()
    broker.open()
    yield broker
    broker.close()
