"""Sends what is due: the only caller of `send`, with time limits, retries and an end to them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine

from ingest.clock import US_PER_S, Clock
from response.leases import Leased, Terms, bury_unreachable, lease, mark_failed, mark_sent
from response.notifier import Notifier, NotifierError, Receipt

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """`first_retry_s`, `retry_cap_s` and `retry_after_cap_s` are of the service clock, the others
    of wall time. A send that takes longer than `time_limit_s` failed; a lease outlives it by
    `lease_margin_s`, in which its outcome is written. With these numbers a notice that nobody
    takes is dead after about two hours."""

    time_limit_s: float = 30.0
    lease_margin_s: float = 30.0
    concurrency: int = 4
    max_attempts: int = 20
    first_retry_s: float = 5.0
    retry_cap_s: float = 900.0
    retry_after_cap_s: float = 86_400.0
    poll_s: float = 0.5
    grace_s: float = 5.0


def retry_s(
    policy: Delivery, attempt: int, retry_after_s: float | None, chance: float
) -> float | None:
    """Seconds from try number `attempt` to the next, None after the last. `chance` in [0, 1):
    exponential with full jitter, but not before the other side said it would listen."""
    if attempt >= policy.max_attempts:
        return None
    # 2.0 ** 60 s is beyond any cap, and a larger power would overflow
    ceiling_s = min(policy.retry_cap_s, policy.first_retry_s * 2.0 ** min(attempt - 1, 60))
    asked_s = min(max(retry_after_s or 0.0, 0.0), policy.retry_after_cap_s)
    return max(ceiling_s * chance, asked_s)


@dataclass(slots=True)
class Dispatcher:
    """`by` is unlike that of any other dispatcher. Any number of them may share a database."""

    engine: Engine
    clock: Clock
    notifiers: Mapping[str, Notifier]
    by: str
    zone: str = "UTC"
    policy: Delivery = Delivery()
    chance: Callable[[], float] = random.random
    _sending: dict[str, set[asyncio.Task[None]]] = field(default_factory=dict, init=False)

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """Until `stop`, then waits a little for what is under way. `wake`: look at once."""
        async with asyncio.TaskGroup() as group:
            await asyncio.to_thread(bury_unreachable, self.engine, tuple(self.notifiers))
            while not stop.is_set():
                wake.clear()
                await self.round(group, wake)
                await wait_first(self.policy.poll_s, stop, wake)
            await self._wind_down()

    async def round(self, group: asyncio.TaskGroup, wake: asyncio.Event) -> int:
        """Starts to send what is due and what there is room for; returns how many."""
        started = 0
        for word in self.notifiers:
            sending = self._sending.setdefault(word, set())
            room = self.policy.concurrency - len(sending)
            for leased in await self._lease(word, room) if room > 0 else ():
                task = group.create_task(self._deliver(word, leased), name=f"send.{leased.id}")
                sending.add(task)
                task.add_done_callback(sending.discard)
                task.add_done_callback(lambda _: wake.set())
                started += 1
        return started

    async def _lease(self, word: str, room: int) -> tuple[Leased, ...]:
        terms = Terms(self.by, self.zone, self.policy.max_attempts)
        now_us = self.clock.now_us()
        wall_s = self.policy.time_limit_s + self.policy.lease_margin_s
        until_us = now_us + int(wall_s * self.clock.speed * US_PER_S)
        return await asyncio.to_thread(lease, self.engine, word, terms, now_us, until_us, room)

    async def _deliver(self, word: str, leased: Leased) -> None:
        try:
            receipt = await self._send(self.notifiers[word], leased)
        except NotifierError as error:
            await self._failed(leased, error)
        else:
            now_us = self.clock.now_us()
            await asyncio.to_thread(mark_sent, self.engine, leased, receipt, now_us)

    async def _send(self, notifier: Notifier, leased: Leased) -> Receipt:
        limit_s = self.policy.time_limit_s
        try:
            async with asyncio.timeout(limit_s):
                return await notifier.send(leased.notice)
        except NotifierError:
            raise
        except TimeoutError as error:
            raise NotifierError(
                f"no answer from {notifier.name} within {limit_s:g} s",
                permanent=False,
                code="timeout",
            ) from error
        except Exception as error:
            # against the port's promise; its text is not shown, as it may name a secret
            kind = type(error).__name__
            _log.exception("notifier broke its promise notifier=%s error=%s", notifier.name, kind)
            raise NotifierError(
                f"{notifier.name} failed with {kind}, which is a mistake in it",
                permanent=False,
                code="broken",
            ) from error

    async def _failed(self, leased: Leased, error: NotifierError) -> None:
        delay_s = (
            None
            if error.permanent
            else retry_s(self.policy, leased.attempt, error.retry_after_s, self.chance())
        )
        now_us = self.clock.now_us()
        retry_us = None if delay_s is None else now_us + int(delay_s * US_PER_S)
        await asyncio.to_thread(mark_failed, self.engine, leased, error, retry_us, now_us)

    async def _wind_down(self) -> None:
        """What is cut off here stays leased, and goes out again when its lease runs out."""
        under_way = [task for tasks in self._sending.values() for task in tasks]
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=self.policy.grace_s)
            for task in late:
                task.cancel()


async def wait_first(timeout_s: float, *events: asyncio.Event) -> None:
    """Until one of the events is set, at most `timeout_s` of wall time."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
