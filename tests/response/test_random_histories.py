"""Any order of changes, acknowledgements, tries and crashes keeps what response promises."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import Engine, select

from ingest.changes import Audience, Change, Severity
from ingest.clock import US_PER_S
from response.actions import acknowledge, unacknowledge
from response.db import Alert, Outbox, reading, writing
from response.leases import Leased, Terms, lease, mark_failed, mark_sent
from response.migrate import open_database
from response.notices import notices
from response.notifier import NotifierError, Receipt
from response.outbox import Telling, take_in
from tests.response.community import START_US, change_of, public_of

PUBLIC = public_of(telling=Telling(per_hour=3, digest_s=600.0, settle_s=30.0, late_s=3_600.0))
LEASE_S = 60
TERMS = Terms("d1", "Asia/Shanghai", max_attempts=1_000)
Line = tuple[str, str, str]  # episode, kind, subscriber

EPISODES = st.integers(0, 5)
DOWN = NotifierError("down", permanent=False)


class Response(RuleBasedStateMachine):
    """The database against what the other side got: `told` counts the lines that went out."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.url = f"sqlite:///{self.folder / 'cases.db'}"
        self.engine: Engine = open_database(self.url)
        self.now_us = START_US
        self.changes: list[Change] = []
        self.newest: dict[int, Change] = {}
        self.acknowledged: set[str] = set()
        self.under_way: list[tuple[Leased, int, list[Line]]] = []
        self.told: Counter[Line] = Counter()
        self.may_repeat: set[Line] = set()

    def teardown(self) -> None:
        try:
            self.drain()
            self.check_the_end()
        finally:
            self.engine.dispose()
            shutil.rmtree(self.folder)

    # what happens

    @rule(
        n=EPISODES,
        severity=st.sampled_from(["urgent", "serious", "warning", "info"]),
        audience=st.sampled_from(["people", "people", "people", "review"]),
        late=st.booleans(),
    )
    def fire(self, n: int, severity: Severity, audience: Audience, late: bool) -> None:
        if n not in self.newest:
            at_us = self.now_us - (7_200 * US_PER_S if late else 0)
            self.take(
                n,
                change_of(rule=f"r{n}", severity=severity, audience=audience, started_us=at_us + n),
            )

    @rule(n=EPISODES, state=st.sampled_from(["unknown", "known", "resolved"]))
    def go_on(self, n: int, state: str) -> None:
        known = self.newest.get(n)
        if known and known.state != "resolved":
            at_us = max(known.at_us, self.now_us)
            self.take(n, replace(known, state=state, at_us=at_us))  # type: ignore[arg-type]

    def take(self, n: int, change: Change) -> None:
        self.newest[n] = change
        self.changes.append(change)
        with writing(self.engine) as session:
            take_in(session, [change], PUBLIC, self.now_us)

    @rule(n=EPISODES)
    def acknowledge(self, n: int) -> None:
        if change := self.newest.get(n):
            acknowledge(self.engine, change.episode, "li", self.now_us)
            self.acknowledged.add(change.episode)

    @rule(n=EPISODES)
    def take_back(self, n: int) -> None:
        if change := self.newest.get(n):
            unacknowledge(self.engine, change.episode, "li", self.now_us)
            self.acknowledged.discard(change.episode)

    @rule(seconds=st.sampled_from([1, 31, 61, 601, 7_200]))
    def wait(self, seconds: int) -> None:
        self.now_us += seconds * US_PER_S
        for _, until_us, lines in self.under_way:
            if until_us <= self.now_us:
                self.may_repeat.update(lines)

    # what the dispatcher does

    @rule(limit=st.integers(1, 4))
    def lease(self, limit: int) -> None:
        until_us = self.now_us + LEASE_S * US_PER_S
        for leased in lease(self.engine, "memory", TERMS, self.now_us, until_us, limit):
            lines = self.lines(leased)
            self.check_worth_telling(lines)
            self.under_way.append((leased, until_us, lines))

    def lines(self, leased: Leased) -> list[Line]:
        with reading(self.engine) as session:
            query = select(Outbox).where(
                (Outbox.id == leased.id) | (Outbox.digest_id == leased.id),
                Outbox.state == "leased",
                Outbox.kind != "digest",
            )
            return [(row.episode, row.kind, row.subscriber) for row in session.scalars(query)]

    @precondition(lambda self: self.under_way)
    @rule(pick=st.integers(0, 100), outcome=st.sampled_from(["sent", "sent", "down", "refused"]))
    def finish(self, pick: int, outcome: str) -> None:
        leased, _, lines = self.under_way.pop(pick % len(self.under_way))
        if outcome == "sent":
            self.told.update(lines)
            mark_sent(self.engine, leased, Receipt("accepted"), self.now_us)
            return
        error = NotifierError("no", permanent=outcome == "refused")
        retry_us = None if error.permanent else self.now_us + 10 * US_PER_S
        mark_failed(self.engine, leased, error, retry_us, self.now_us)

    @rule(went_out=st.booleans())
    def crash(self, went_out: bool) -> None:
        """The process dies with what is under way, sent or not; nothing is noted."""
        for _, _, lines in self.under_way:
            self.may_repeat.update(lines)
            if went_out:
                self.told.update(lines)
        self.under_way.clear()
        self.engine.dispose()
        self.engine = open_database(self.url)

    @rule()
    def take_everything_in_again(self) -> None:
        before = notices(self.engine, 1_000)
        with writing(self.engine) as session:
            take_in(session, self.changes, PUBLIC, self.now_us)
        assert notices(self.engine, 1_000) == before

    # what is promised

    def check_worth_telling(self, lines: list[Line]) -> None:
        over = {c.episode for c in self.newest.values() if c.state == "resolved"}
        for episode, kind, _ in lines:
            assert kind != "firing" or episode not in self.acknowledged
            assert kind != "firing" or episode not in over

    @invariant()
    def nobody_is_told_twice_without_a_crash(self) -> None:
        assert {line for line, count in self.told.items() if count > 1} <= self.may_repeat

    @invariant()
    def review_is_told_to_nobody(self) -> None:
        for change in self.newest.values():
            if change.audience == "review":
                assert not any(episode == change.episode for episode, _, _ in self.told)

    def drain(self) -> None:
        """Everything works again: all that is due goes out."""
        for leased, _, lines in self.under_way:
            self.told.update(lines)
            mark_sent(self.engine, leased, Receipt("accepted"), self.now_us)
        self.under_way.clear()
        for _ in range(8):
            self.now_us += 1_000 * US_PER_S
            self.lease(100)
            while self.under_way:
                self.finish(0, "sent")

    def check_the_end(self) -> None:
        with reading(self.engine) as session:
            rows = session.scalars(select(Outbox)).all()
            alerts = {alert.episode: alert.state for alert in session.scalars(select(Alert))}
        dead: set[Line] = {
            (row.episode, row.kind, row.subscriber) for row in rows if row.state == "dead"
        }
        assert all(row.state in {"sent", "dead", "cancelled"} for row in rows)
        for change in self.newest.values():
            for subscriber in PUBLIC.of(change) if change.audience == "people" else ():
                self.check_told(change, alerts[change.episode], subscriber.name, dead)

    def check_told(self, change: Change, state: str, name: str, dead: set[Line]) -> None:
        beginning = (change.episode, "firing", name)
        end = (change.episode, "resolved", name)
        if state != "resolved":
            if change.episode not in self.acknowledged:
                assert self.told[beginning] or beginning in dead
            assert not self.told[end]
        elif self.told[beginning]:
            assert self.told[end] or end in dead
        elif beginning not in self.may_repeat:
            assert not self.told[end]


TestRandomHistories = Response.TestCase
TestRandomHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
