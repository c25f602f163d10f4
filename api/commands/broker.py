"""The demo's broker: amqtt on a loopback port. It promises nothing, and the demo says so."""

from __future__ import annotations

import asyncio
import logging
import threading

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig


def run_broker(port: int, stop: threading.Event) -> None:
    """Until `stop`."""
    # a client that leaves without a farewell is no news in a demo that is being stopped
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    asyncio.run(_run(port, stop))


async def _run(port: int, stop: threading.Event) -> None:
    config = BrokerConfig(
        listeners={"default": ListenerConfig(bind=f"127.0.0.1:{port}")},
        plugins={"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    )
    broker = Broker(config)
    await broker.start()
    try:
        await asyncio.to_thread(stop.wait)
    finally:
        await broker.shutdown()
