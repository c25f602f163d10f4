"""Any order of changes, acknowledgements, tries and crashes keeps what response promises."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select

from ingest.changes import SEVERITIES, Audience, Change, ChangeState
from ingest.clock import US_PER_S
from response.actions import acknowledge, unacknowledge
from response.db import Alert, Outbox, reading, writing
from response.leases import Leased, Terms, lease, mark_failed, mark_sent
from response.migrate import open_database
from response.notices import notices
from response.notifier import NotifierError, Receipt
from response.outbox import Telling, take_in
from tests.response.community import START_US, change_of, public_of

PUBLIC = public_of(telling=Telling(per_hour=2, digest_s=600.0, settle_s=30.0, late_s=3_600.0))
LEASE_S = 60
TERMS = Terms("d1", "Asia/Shanghai", max_attempts=1_000)
Line = tuple[str, str, str]  # episode, kind, subscriber

Step = tuple[str, int]
WEIGHTS = {
    "fire": 3,
    "fire_late": 1,
    "review": 1,
    "resolve": 4,
    "falter": 1,
    "acknowledge": 2,
    "take_back": 1,
    "wait": 4,
    "lease": 5,
    "finish": 6,
    "crash": 2,
    "take_in_again": 1,
}
STEPS = st.tuples(
    st.sampled_from([word for word, weight in WEIGHTS.items() for _ in range(weight)]),
    st.integers(0, 11),
)


def open_quickly(url: str) -> Engine:
    """Without waiting for the disk: a power cut is not among the crashes here."""
    engine = open_database(url)
    engine.dispose()
    event.listen(
        engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF")
    )
    return engine


class Response:
    """The database against what the other side got: `told` counts the lines that went out."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = open_quickly(url)
        self.now_us = START_US
        self.changes: list[Change] = []
        self.newest: dict[str, Change] = {}
        self.acknowledged: set[str] = set()
        self.under_way: list[tuple[Leased, int, list[Line]]] = []
        self.told: Counter[Line] = Counter()
        self.may_repeat: set[Line] = set()

    # what happens

    def fire(self, n: int, audience: Audience = "people", late_s: int = 0) -> None:
        if len(self.newest) == 6:
            return
        at_us = self.now_us - late_s * US_PER_S + len(self.newest)
        severity = SEVERITIES[n % 4]
        self.take(
            change_of(
                rule=f"r{len(self.newest)}", severity=severity, audience=audience, started_us=at_us
            )
        )

    def fire_late(self, n: int) -> None:
        self.fire(n, late_s=7_200)

    def review(self, n: int) -> None:
        self.fire(n, "review")

    def resolve(self, n: int) -> None:
        self.go_on(n, "resolved")

    def falter(self, n: int) -> None:
        self.go_on(n, "unknown" if n % 2 else "known")

    def go_on(self, n: int, state: ChangeState) -> None:
        going = [change for change in self.newest.values() if change.state != "resolved"]
        if going:
            known = going[n % len(going)]
            self.take(replace(known, state=state, at_us=max(known.at_us, self.now_us)))

    def take(self, change: Change) -> None:
        self.newest[change.episode] = change
        self.changes.append(change)
        with writing(self.engine) as session:
            take_in(session, [change], PUBLIC, self.now_us)

    def acknowledge(self, n: int) -> None:
        if self.newest:
            episode = list(self.newest)[n % len(self.newest)]
            acknowledge(self.engine, episode, "li", self.now_us)
            self.acknowledged.add(episode)

    def take_back(self, n: int) -> None:
        if self.acknowledged:
            episode = sorted(self.acknowledged)[n % len(self.acknowledged)]
            unacknowledge(self.engine, episode, "li", self.now_us)
            self.acknowledged.discard(episode)

    def wait(self, n: int) -> None:
        self.now_us += (1, 31, 61, 601)[n % 4] * US_PER_S
        for _, until_us, lines in self.under_way:
            if until_us <= self.now_us:
                self.may_repeat.update(lines)

    # what the dispatcher does

    def lease(self, n: int) -> None:
        limit = n + 1
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

    def finish(self, n: int) -> None:
        if not self.under_way:
            return
        leased, _, lines = self.under_way.pop(n % len(self.under_way))
        outcome = ("sent", "sent", "down", "sent", "refused", "down")[n % 6]
        if outcome == "sent":
            self.told.update(lines)
            mark_sent(self.engine, leased, Receipt("accepted"), self.now_us)
            return
        error = NotifierError("no", permanent=outcome == "refused")
        retry_us = None if error.permanent else self.now_us + 10 * US_PER_S
        mark_failed(self.engine, leased, error, retry_us, self.now_us)

    def crash(self, n: int) -> None:
        """The process dies with what is under way, sent or not; nothing is noted."""
        for _, _, lines in self.under_way:
            self.may_repeat.update(lines)
            if n % 2:
                self.told.update(lines)
        self.under_way.clear()
        self.engine.dispose()
        self.engine = open_quickly(self.url)

    def take_in_again(self, n: int) -> None:
        before = notices(self.engine, 1_000)
        with writing(self.engine) as session:
            take_in(session, self.changes, PUBLIC, self.now_us)
        assert notices(self.engine, 1_000) == before

    # what is promised

    def check_worth_telling(self, lines: list[Line]) -> None:
        over = {c.episode for c in self.newest.values() if c.state == "resolved"}
        for episode, kind, name in lines:
            if kind == "firing":
                assert episode not in self.acknowledged | over
            if kind == "resolved":
                beginning = (episode, "firing", name)
                assert self.told[beginning] or beginning in self.may_repeat

    def nobody_is_told_twice_without_a_crash(self) -> None:
        assert {line for line, count in self.told.items() if count > 1} <= self.may_repeat

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
                self.finish(0)

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


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "cases.db"
    open_database(f"sqlite:///{file}").dispose()
    return file


@given(steps=st.lists(STEPS, min_size=30, max_size=60))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_response_promises_holds_in_any_history(template: Path, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = shutil.copy(template, folder)
        response = Response(f"sqlite:///{file}")
        try:
            for word, n in steps:
                getattr(response, word)(n)
                response.nobody_is_told_twice_without_a_crash()
            response.drain()
            response.take_in_again(0)
            response.nobody_is_told_twice_without_a_crash()
            response.review_is_told_to_nobody()
            response.check_the_end()
        finally:
            response.engine.dispose()
