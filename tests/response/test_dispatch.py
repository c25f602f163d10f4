from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from ingest.changes import Change
from ingest.clock import Clock
from response.db import writing
from response.dispatch import Delivery, Dispatcher, retry_s
from response.notices import NoticeRow, attempts_of, notices
from response.notifier import Notice, Notifier, NotifierConfig, NotifierError, Receipt
from response.notifiers.email import open_notifier
from response.notifiers.memory import MemoryNotifier
from response.outbox import take_in
from tests.response.community import LI, START_US, change_of, public_of
from tests.response.mailbox import Mailbox, serve_mail

QUICK = Delivery(poll_s=0.02, time_limit_s=5.0, first_retry_s=1.0, max_attempts=4)


def clock(speed: float = 1.0) -> Clock:
    return Clock(START_US, speed)


def tell(engine: Engine, *changes: Change, word: str = "memory") -> None:
    public = public_of(replace(LI, notifier=word))
    with writing(engine) as session:
        take_in(session, changes, public, START_US)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110  # it is the database that says so
            await asyncio.sleep(0.01)


async def dispatch_until(dispatcher: Dispatcher, done: Callable[[], bool]) -> None:
    stop, wake = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run(stop, wake))
        await until(done)
        stop.set()


def only(engine: Engine) -> NoticeRow:
    (row,) = notices(engine, 10)
    return row


@dataclass
class Scripted:
    """Answers each send with the next of its script: an error, a receipt, or never."""

    script: list[NotifierError | Exception | Receipt | None]
    name: str = "memory"
    got: list[Notice] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def send(self, notice: Notice) -> Receipt:
        self.got.append(notice)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.02)
            answer = self.script.pop(0) if self.script else Receipt("accepted")
            if answer is None:
                await asyncio.sleep(3_600)
            if isinstance(answer, Receipt):
                return answer
            raise answer or AssertionError
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        return None


def dispatcher(
    engine: Engine, *notifiers: Notifier, policy: Delivery = QUICK, speed: float = 1.0
) -> Dispatcher:
    words = {notifier.name: notifier for notifier in notifiers}
    return Dispatcher(engine, clock(speed), words, "d1", policy=policy)


async def test_what_is_due_is_sent_once_and_its_receipt_kept(engine: Engine) -> None:
    tell(engine, change_of(), change_of(device="post-8"))
    memory = MemoryNotifier()
    await dispatch_until(
        dispatcher(engine, memory), lambda: len(notices(engine, 10, state="sent")) == 2
    )
    assert memory.count == 2
    (entry,) = attempts_of(engine, notices(engine, 1)[0].id)
    assert (entry.outcome, entry.code) == ("sent", "delivered")
    assert entry.provider_id in {"1", "2"}


async def test_a_failure_is_tried_again_under_the_same_key(engine: Engine) -> None:
    tell(engine, change_of())
    scripted = Scripted([NotifierError("busy", permanent=False, code="451")])
    await dispatch_until(
        dispatcher(engine, scripted, speed=50), lambda: only(engine).state == "sent"
    )
    assert scripted.got[0] == scripted.got[1]
    entries = attempts_of(engine, only(engine).id)
    assert [(entry.outcome, entry.detail) for entry in entries] == [("retry", "busy"), ("sent", "")]


async def test_a_permanent_refusal_is_dead_at_once_with_its_reason(engine: Engine) -> None:
    tell(engine, change_of())
    scripted = Scripted([NotifierError("no such user", permanent=True, code="550")])
    await dispatch_until(dispatcher(engine, scripted), lambda: only(engine).state == "dead")
    assert only(engine).last_error == "no such user"
    assert len(scripted.got) == 1


async def test_the_last_try_ends_among_the_dead(engine: Engine) -> None:
    tell(engine, change_of())
    scripted = Scripted([NotifierError(f"busy {n}", permanent=False) for n in range(9)])
    await dispatch_until(
        dispatcher(engine, scripted, speed=100), lambda: only(engine).state == "dead"
    )
    assert len(scripted.got) == QUICK.max_attempts
    assert only(engine).last_error == "busy 3"


async def test_retry_after_is_honoured_on_the_service_clock(engine: Engine) -> None:
    tell(engine, change_of())
    scripted = Scripted([NotifierError("slow down", permanent=False, retry_after_s=7_200)])
    await dispatch_until(dispatcher(engine, scripted), lambda: only(engine).last_error != "")
    assert only(engine).due_us - START_US >= 7_200 * 1_000_000


async def test_a_send_that_never_ends_is_cut_off_and_tried_again(engine: Engine) -> None:
    tell(engine, change_of())
    scripted = Scripted([None])
    policy = replace(QUICK, time_limit_s=0.2)
    await dispatch_until(
        dispatcher(engine, scripted, policy=policy, speed=50),
        lambda: only(engine).state == "sent",
    )
    assert attempts_of(engine, only(engine).id)[0].code == "timeout"


async def test_a_notifier_that_breaks_its_promise_is_told_without_its_secrets(
    engine: Engine,
) -> None:
    tell(engine, change_of())
    scripted = Scripted([KeyError("s3cret")])
    await dispatch_until(
        dispatcher(engine, scripted, speed=50), lambda: only(engine).state == "sent"
    )
    first = attempts_of(engine, only(engine).id)[0]
    assert first.detail == "memory failed with KeyError, which is a mistake in it"


async def test_a_slow_notifier_does_not_hold_up_another(engine: Engine) -> None:
    tell(engine, *(change_of(rule=f"r{n}") for n in range(6)), word="slow")
    tell(engine, change_of(rule="quick"))
    slow, memory = Scripted([None] * 6, name="slow"), MemoryNotifier()
    policy = replace(QUICK, grace_s=0.05)
    await dispatch_until(dispatcher(engine, slow, memory, policy=policy), lambda: memory.count == 1)
    assert slow.most_at_once <= policy.concurrency


async def test_no_more_than_allowed_are_sent_at_once(engine: Engine) -> None:
    tell(engine, *(change_of(rule=f"r{n}") for n in range(12)))
    scripted = Scripted([])
    await dispatch_until(
        dispatcher(engine, scripted, policy=replace(QUICK, concurrency=3)),
        lambda: len(notices(engine, 20, state="sent")) == 12,
    )
    assert scripted.most_at_once == 3


async def test_two_dispatchers_never_send_the_same_notice(engine: Engine) -> None:
    tell(engine, *(change_of(rule=f"r{n}") for n in range(20)))
    memory = MemoryNotifier()
    stop, wake = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for by in ("d1", "d2"):
            words = {"memory": memory}
            one = Dispatcher(engine, clock(), words, by, policy=QUICK)
            group.create_task(one.run(stop, wake))
        await until(lambda: len(notices(engine, 30, state="sent")) == 20)
        stop.set()
    assert memory.count == 20


async def test_stopping_waits_for_what_is_under_way(engine: Engine) -> None:
    tell(engine, change_of())
    scripted = Scripted([])
    await dispatch_until(dispatcher(engine, scripted), lambda: bool(scripted.got))
    assert only(engine).state == "sent"


async def test_what_is_cut_off_at_the_end_stays_leased(engine: Engine) -> None:
    tell(engine, change_of())
    scripted = Scripted([None])
    policy = replace(QUICK, grace_s=0.05)
    await dispatch_until(dispatcher(engine, scripted, policy=policy), lambda: bool(scripted.got))
    assert only(engine).state == "leased"


async def test_notices_for_no_open_notifier_are_buried_at_the_start(engine: Engine) -> None:
    tell(engine, change_of(), word="pigeon")
    await dispatch_until(dispatcher(engine, MemoryNotifier()), lambda: only(engine).state == "dead")
    assert "there are: memory" in only(engine).last_error


async def test_a_server_that_comes_back_gets_what_waited(engine: Engine) -> None:
    with serve_mail(Mailbox()) as box:
        url = box.url
    tell(engine, change_of(), word="email")
    email = open_notifier(NotifierConfig(url, sender="courtyard@example.org", timeout_s=2.0))
    running = asyncio.create_task(
        dispatch_until(
            dispatcher(engine, email, policy=replace(QUICK, max_attempts=1_000), speed=10),
            lambda: only(engine).state == "sent",
        )
    )
    await until(lambda: len(attempts_of(engine, only(engine).id)) >= 2)
    port = int(url.rpartition(":")[2])
    with serve_mail(Mailbox(), port=port) as box:
        await running
    assert len(box.messages) == 1


async def test_each_recipient_gets_the_servers_own_answer(engine: Engine) -> None:
    people = ("good", "gone", "later")
    public = public_of(
        *(replace(LI, name=n, notifier="email", address=f"{n}@example.org") for n in people)
    )
    with writing(engine) as session:
        take_in(session, [change_of()], public, START_US)
    refusals = {"gone@example.org": "550 5.1.1 no", "later@example.org": "451 4.7.1 wait"}
    with serve_mail(Mailbox(refusals=refusals)) as box:
        email = open_notifier(NotifierConfig(box.url, sender="courtyard@example.org"))
        await dispatch_until(
            dispatcher(engine, email, policy=replace(QUICK, first_retry_s=3_600)),
            lambda: all(row.attempts and row.state != "leased" for row in notices(engine, 10)),
        )
    found = {row.subscriber: (row.state, row.last_error[:30]) for row in notices(engine, 10)}
    assert found == {
        "good": ("sent", ""),
        "gone": ("dead", "recipient refused: 5.1.1 no (5"),
        "later": ("waiting", "recipient refused: 4.7.1 wait "),
    }


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 1e9) | st.none())
def test_a_retry_is_never_too_soon_nor_too_late(
    attempt: int, chance: float, asked_s: float | None
) -> None:
    policy = Delivery(max_attempts=5_000)
    delay_s = retry_s(policy, attempt, asked_s, chance)
    if attempt >= policy.max_attempts:
        assert delay_s is None
        return
    assert delay_s is not None
    assert min(asked_s or 0, policy.retry_after_cap_s) <= delay_s
    assert delay_s <= max(policy.retry_cap_s, min(asked_s or 0, policy.retry_after_cap_s))


@pytest.mark.parametrize(("attempt", "ceiling_s"), [(1, 5), (2, 10), (8, 640), (9, 900)])
def test_pauses_double_up_to_their_cap(attempt: int, ceiling_s: float) -> None:
    assert retry_s(Delivery(), attempt, None, 0.5) == ceiling_s / 2
