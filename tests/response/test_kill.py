"""kill -9 of a dispatcher in the middle of its work."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ingest.clock import Clock
from response.db import writing
from response.notices import attempts_of, notices
from response.outbox import Telling, take_in
from tests.response.community import LI, change_of, public_of
from tests.response.mailbox import Mailbox, serve_mail

LEASE_S = 5.0
PUBLIC = public_of(replace(LI, notifier="email"), telling=Telling(per_hour=10_000))


@contextmanager
def sender(url: str, box: Mailbox) -> Iterator[subprocess.Popen[bytes]]:
    """A dispatcher in a process of its own, killed at the end if it still lives."""
    script = str(Path(__file__).with_name("sender.py"))
    with subprocess.Popen([sys.executable, script, url, box.url, str(LEASE_S)]) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline_s, "it took more than two minutes"
        time.sleep(0.02)


def tell(engine: Engine, count: int) -> None:
    now_us = Clock().now_us()
    changes = [change_of(rule=f"r{n}", started_us=now_us + n) for n in range(count)]
    with writing(engine) as session:
        take_in(session, changes, PUBLIC, now_us)


def test_killed_between_sending_and_marking_it_sends_again_under_the_same_id(
    engine: Engine, url: str
) -> None:
    tell(engine, 1)
    victims: list[subprocess.Popen[bytes]] = []

    def kill_the_sender(message: EmailMessage) -> None:
        if victims:
            victims.pop().send_signal(signal.SIGKILL)

    with serve_mail(Mailbox(on_message=kill_the_sender)) as box:
        with sender(url, box) as first:
            victims.append(first)
            assert first.wait(120) == -signal.SIGKILL
        assert [row.state for row in notices(engine, 9)] == ["leased"]
        with sender(url, box):
            wait_until(lambda: notices(engine, 9)[0].state == "sent")
    assert len(box.messages) == 2
    assert len({message["Message-ID"] for message in box.messages}) == 1
    outcomes = [entry.outcome for entry in attempts_of(engine, notices(engine, 9)[0].id)]
    assert outcomes == ["unknown", "sent"]


def unsure_tries(engine: Engine, count: int) -> int:
    """Tries of which nobody can say whether they went out."""
    entries = [e for row in notices(engine, count) for e in attempts_of(engine, row.id)]
    return sum(entry.outcome == "unknown" or entry.code == "timeout" for entry in entries)


def killed_at_random_moments(engine: Engine, url: str, kills: int, count: int) -> Counter[str]:
    """How often each notice arrived when its sender was killed `kills` times."""
    tell(engine, count)
    chance = random.Random(7)
    with serve_mail(Mailbox(delay_s=0.05)) as box:
        for _ in range(kills):
            before = len(box.messages)
            with sender(url, box):
                wait_until(lambda before=before: len(box.messages) > before)  # type: ignore[misc]
                time.sleep(chance.random() * 0.15)
        with sender(url, box):
            wait_until(lambda: len(notices(engine, count, state="sent")) == count)
    ids = {(message["X-Courtyard-Key"], message["Message-ID"]) for message in box.messages}
    arrived = Counter(str(message["X-Courtyard-Key"]) for message in box.messages)
    assert len(ids) == len(arrived)
    return arrived


def test_killed_at_random_moments_it_loses_nothing(engine: Engine, url: str) -> None:
    arrived = killed_at_random_moments(engine, url, kills=3, count=25)
    assert len(arrived) == 25
    assert arrived.total() <= 25 + unsure_tries(engine, 25)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_killed_twenty_times_it_loses_nothing(engine: Engine, url: str) -> None:
    arrived = killed_at_random_moments(engine, url, kills=20, count=400)
    assert len(arrived) == 400
    assert arrived.total() <= 400 + unsure_tries(engine, 400)
