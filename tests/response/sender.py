"""A dispatcher in a process of its own: `python sender.py DATABASE-URL SMTP-URL LEASE-SECONDS`."""

from __future__ import annotations

import asyncio
import os
import sys

from ingest.clock import Clock
from response.dispatch import Delivery, Dispatcher
from response.migrate import open_database
from response.notifier import NotifierConfig
from response.notifiers.email import open_notifier


async def main(database: str, smtp: str, lease_s: float) -> None:
    engine = open_database(database)
    email = open_notifier(NotifierConfig(smtp, sender="courtyard@example.org"))
    policy = Delivery(time_limit_s=lease_s, lease_margin_s=0.0, poll_s=0.05, first_retry_s=0.1)
    dispatcher = Dispatcher(engine, Clock(), {"email": email}, str(os.getpid()), policy=policy)
    await dispatcher.run(asyncio.Event(), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
