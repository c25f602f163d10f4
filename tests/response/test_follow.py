from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ingest.changes import Change
from ingest.clock import US_PER_S, Clock
from ingest.inputs import Inputs, Json
from ingest.journal import Batch, JournalError
from ingest.segments import open_reader, open_writer
from ingest.store import Cursor
from response.alerts import alert_rows
from response.follow import Follower, Journal, read_cursor
from response.leases import lease
from response.notices import notices
from response.notifiers.memory import MemoryNotifier
from response.respond import Parts, run
from tests.response.community import LI, START_US, ListJournal, change_of, public_of, readings_of
from tests.response.test_dispatch import QUICK, until
from tests.response.test_outbox import TERMS


def follower_of(
    engine: Engine, journal: Journal, published: list[Cursor] | None = None, now_us: int = START_US
) -> Follower:
    publish = (published if published is not None else []).append
    return Follower(engine, journal, public_of(), lambda: now_us, publish)


def follow(engine: Engine, journal: Journal, now_us: int = START_US) -> Follower:
    follower = follower_of(engine, journal, now_us=now_us)
    while follower.step():
        pass
    return follower


def kinds(engine: Engine) -> list[str]:
    return sorted(f"{row.kind} {row.subscriber}" for row in notices(engine, 100))


def test_alerts_notices_and_cursor_come_together(engine: Engine) -> None:
    journal, published = ListJournal(), list[Cursor]()
    journal.add()
    journal.add(change_of())
    follower = follower_of(engine, journal, published)
    assert follower.step() is False
    assert published == [Cursor("j1", 2)]
    assert read_cursor(engine, "respond") == Cursor("j1", 2)
    assert (follower.take_told(), follower.take_told()) == (2, 0)
    assert kinds(engine) == ["firing ann", "firing li"]


def test_following_on_after_a_restart_repeats_nothing(engine: Engine) -> None:
    journal = ListJournal()
    journal.add(change_of())
    follow(engine, journal)
    journal.add(change_of(device="post-8"))
    follow(engine, journal)
    follow(engine, journal)
    assert kinds(engine) == ["firing ann", "firing li", "firing li"]


def test_if_the_transaction_fails_nothing_is_taken_in_and_it_is_tried_again(
    engine: Engine,
) -> None:
    journal, published = ListJournal(), list[Cursor]()
    journal.add(change_of())
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN"
                " SELECT RAISE(ABORT, 'disk full'); END"
            )
        )
    follower = follower_of(engine, journal, published)
    with pytest.raises(Exception, match="disk full"):
        follower.step()
    assert alert_rows(engine, 10) == ()
    assert read_cursor(engine, "respond") is None
    assert published == []
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER full"))
    follower.step()
    assert kinds(engine) == ["firing ann", "firing li"]


def test_quiet_batches_move_the_cursor_now_and_then(engine: Engine) -> None:
    journal, published = ListJournal(), list[Cursor]()
    follower = follower_of(engine, journal, published)
    for _ in range(600):
        journal.add()
    while follower.step():
        pass
    assert [cursor.batch for cursor in published] == [256, 512]
    assert follower.cursor == Cursor("j1", 600)


def gap(engine: Engine) -> ListJournal:
    """A follower that saw the first batch of a journal of which the first five are gone."""
    journal = ListJournal()
    journal.add(change_of(rule="seen, ended in the gap"), change_of(rule="seen, goes on"))
    follow(engine, journal)
    return journal


def test_batches_that_are_gone_lead_to_a_rebuild_that_tells_what_goes_on(engine: Engine) -> None:
    journal = gap(engine)
    later_us = START_US + 60 * US_PER_S
    journal.add(change_of("resolved", rule="seen, ended in the gap", at_us=later_us))
    journal.add(change_of(rule="began in the gap", started_us=later_us))
    journal.add(change_of("unknown", rule="began in the gap", started_us=later_us, at_us=later_us))
    journal.gone = 4
    follower = follow(engine, journal, later_us)
    assert follower.rebuilt == "alerts rebuilt up to batch 4: batch 2 is no longer kept"
    assert {row.rule: row.state for row in alert_rows(engine, 10)} == {
        "seen, ended in the gap": "resolved",
        "seen, goes on": "firing",
        "began in the gap": "unknown",
    }
    waiting = [row for row in notices(engine, 10, state="waiting") if row.subscriber == "li"]
    assert sorted(row.text.partition("规则：")[2].split("\n")[0] for row in waiting) == [
        "began in the gap",
        "seen, goes on",
    ]
    journal.add(change_of(rule="after"))
    follower.step()
    assert read_cursor(engine, "respond") == Cursor("j1", 5)


def test_what_came_and_went_in_the_gap_long_ago_is_summed_up(engine: Engine) -> None:
    journal = gap(engine)
    journal.add(change_of(rule="x"))
    journal.add(change_of("resolved", rule="x", at_us=START_US + 60 * US_PER_S))
    journal.gone = 3
    follow(engine, journal, START_US + 7_200 * US_PER_S)
    missed = [row for row in notices(engine, 20) if row.kind == "missed"]
    assert {row.subscriber for row in missed} == {"li", "ann"}


def test_another_journal_ends_the_alerts_that_it_does_not_know(engine: Engine) -> None:
    gap(engine)
    other = ListJournal("j2")
    other.add(change_of(rule="new"))
    follower = follow(engine, other)
    assert "another journal, j1" in follower.rebuilt
    assert {row.rule: row.state for row in alert_rows(engine, 10)} == {
        "seen, ended in the gap": "resolved",
        "seen, goes on": "resolved",
        "new": "firing",
    }


def test_a_backlog_with_its_end_pages_nobody(engine: Engine) -> None:
    journal = ListJournal()
    journal.add(change_of())
    journal.add(change_of("resolved", at_us=START_US + 60 * US_PER_S))
    follow(engine, journal, START_US + 7_200 * US_PER_S)
    firing = [row.state for row in notices(engine, 10) if row.kind == "firing"]
    assert firing == ["cancelled", "cancelled"]
    assert {row.kind for row in notices(engine, 10, state="waiting")} == {"missed", "digest"}


def test_a_long_backlog_holds_late_notices_back_until_it_is_read(engine: Engine) -> None:
    journal = ListJournal()
    journal.add(change_of())
    for _ in range(400):
        journal.add()
    journal.add(change_of("resolved", at_us=START_US + 60 * US_PER_S))
    now_us = [START_US + 7_200 * US_PER_S]
    follower = Follower(engine, journal, public_of(LI), lambda: now_us[0], lambda cursor: None)
    while follower.step():
        now_us[0] += 20 * US_PER_S
        assert lease(engine, "memory", TERMS, now_us[0], now_us[0] + 1, 9) == ()
    states = {row.kind: row.state for row in notices(engine, 9)}
    assert states == {"firing": "cancelled", "missed": "waiting", "digest": "waiting"}


class Broken(ListJournal):
    """Cannot be read until it is mended."""

    mended = False

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def read(self, after: int, limit: int = 1_000) -> list[Batch]:
        if not self.mended:
            raise self.error
        return list(super().read(after, limit))


class Desk:
    """A respond process as a task, with what it says of itself."""

    def __init__(self, engine: Engine, journal: Journal, memory: MemoryNotifier) -> None:
        self.said: list[Mapping[str, Json]] = []
        self.published: list[Cursor] = []
        self.stop = asyncio.Event()
        clock = Clock(START_US, 20.0)
        public = public_of(LI)
        self.parts = Parts(engine, lambda: journal, public, {"memory": memory}, clock, QUICK)

    async def __aenter__(self) -> Desk:
        self.task = asyncio.create_task(
            run(self.parts, self.stop, self.said.append, self.published.append)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await self.task


async def test_the_process_tells_what_the_journal_brings_and_how_it_is(engine: Engine) -> None:
    journal, memory = ListJournal(), MemoryNotifier()
    async with Desk(engine, journal, memory) as desk:
        journal.add(change_of())
        await until(lambda: memory.count == 1)
        journal.add(change_of("resolved", at_us=START_US + 1))
        await until(lambda: memory.count == 2)
        await until(lambda: desk.said[-1]["sent"] == 2)
    assert desk.published[-1] == Cursor("j1", 2)
    assert desk.said[-1] == {
        "journal": "j1",
        "batch": 2,
        "behind": 0,
        "error": "",
        "rebuilt": "",
        "waiting": 0,
        "leased": 0,
        "sent": 2,
        "dead": 0,
        "cancelled": 0,
        "oldest_age_s": 0.0,
    }


@pytest.mark.parametrize("kind", [JournalError, RuntimeError])
async def test_a_broken_journal_is_said_and_does_not_stop_the_outbox(
    engine: Engine, kind: type[Exception]
) -> None:
    first = ListJournal()
    first.add(change_of())
    follow(engine, first)
    journal, memory = Broken(kind("disk gone")), MemoryNotifier()
    async with Desk(engine, journal, memory) as desk:
        await until(lambda: memory.count == 2)
        await until(lambda: bool(desk.said and desk.said[-1]["error"] == "disk gone"))
        journal.mended = True
        journal.add(change_of())
        journal.add(change_of(device="post-8"))
        await until(lambda: memory.count == 3)
        await until(lambda: desk.said[-1]["error"] == "")


async def test_it_waits_for_a_journal_that_does_not_exist_yet(
    engine: Engine, tmp_path: Path
) -> None:
    memory = MemoryNotifier()
    desk = Desk(engine, ListJournal(), memory)
    folder = tmp_path / "journal"
    desk.parts = replace(desk.parts, open_journal=lambda: open_reader(folder))
    async with desk:
        await until(lambda: bool(desk.said and "no journal" in str(desk.said[-1]["error"])))
        writer = open_writer(folder)
        writer.commit(Batch(1, START_US, Inputs(readings_of(0)), (change_of(),)))
        await until(lambda: memory.count == 1)
        writer.commit(Batch(2, START_US, Inputs(readings_of(0)), (_over(),)))
        await until(lambda: memory.count == 2)
        writer.close()
    assert [notice.subject[:5] for notice in memory.sent] == ["【严重】7", "【已恢复】"]


def _over() -> Change:
    return change_of("resolved", at_us=START_US + 1)
