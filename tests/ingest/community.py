"""A small site, and a source and a clock that a test moves by hand."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from ingest.changes import Change
from ingest.clock import Clock
from ingest.deliveries import Delivery, Taken, Waiting
from ingest.dialect import Dialect, Inbound
from ingest.dialects.native import DIALECT, encode_up
from ingest.inputs import Inputs
from ingest.pipeline import Pipeline
from ingest.registry import Registry
from ingest.segments import SegmentWriter
from ingest.site import read_registry

SITE = """
site: {id: rihuali, name: {zh: 日晖里, en: Rihuali}}
principals:
  - {name: stranger, dialects: []}
devices:
  - {id: m1, type: circuit_meter}
  - {id: m2, type: circuit_meter}
  - {id: p1, type: pump}
  - {id: g1, type: gateway}
  - {id: child1, type: circuit_meter, principal: g1, gateway: g1, external_ids: [x-77]}
"""
S = 1_000_000
T0_US = 1_780_000_000 * S
T0_MS = T0_US // 1_000


@cache
def registry() -> Registry:
    return read_registry(Path("site.yaml"), SITE)


class Hands(Clock):
    """A clock that stands still until a test moves it."""

    hands: list[int]

    def __init__(self) -> None:
        super().__init__()
        # a clock of the service is frozen; what the list holds is not
        object.__setattr__(self, "hands", [T0_US])

    def now_us(self) -> int:
        return self.hands[0]

    def advance(self, us: int) -> None:
        self.hands[0] += us


class Feed:
    """A source that a test fills, and that keeps what was acknowledged."""

    def __init__(self, clock: Clock) -> None:
        self.waiting = Waiting(clock, 10**6, 10**9)
        self.waiting.epoch = 1
        self.acked: list[Delivery] = []
        self.aborted = False
        self.mid = 0

    def put(
        self,
        topic: str,
        payload: bytes,
        *,
        mid: int | None = None,
        dup: bool = False,
        retain: bool = False,
        qos: int = 1,
        refused: str = "",
    ) -> Delivery:
        if mid is None:
            self.mid += 1
            mid = self.mid
        with self.waiting.lock:
            inbound = Inbound(topic, payload, self.waiting.stamp(), retain, dup, qos)
            delivery = Delivery(inbound, mid, 1, self.waiting.epoch, refused)
            self.waiting.put(delivery)
        return delivery

    def take(self, limit: int, wait_s: float) -> Taken:
        return self.waiting.take(limit, 0.0)

    def ack(self, deliveries: list[Delivery]) -> None:
        self.acked += deliveries

    def stamp(self) -> int:
        with self.waiting.lock:
            return self.waiting.stamp()

    def abort(self) -> None:
        self.aborted = True


class Engine:
    """Keeps what it was given; answers with `answer`."""

    def __init__(self) -> None:
        self.seen: list[tuple[Inputs, int]] = []
        self.answer: Callable[[Inputs, int], tuple[Change, ...]] = lambda inputs, now_us: ()

    def step(self, inputs: Inputs, now_us: int) -> tuple[Change, ...]:
        self.seen.append((inputs, now_us))
        return self.answer(inputs, now_us)


class Bench:
    """A pipeline with all its parts, turned by hand."""

    def __init__(self, journal: SegmentWriter, dialects: tuple[Dialect, ...] = (DIALECT,)) -> None:
        self.clock = Hands()
        self.feed = Feed(self.clock)
        self.engine = Engine()
        self.journal = journal
        self.pipeline = Pipeline(
            self.feed,
            journal,
            registry(),
            dialects,
            self.engine.step,
            self.clock,
            prints=journal.prints,
        )

    def up(
        self, seq: int, *rows: tuple[str, str, float], principal: str = "m1", **more: object
    ) -> bytes:
        """Publishes rows of (channel, metric, value) as principal; returns the payload."""
        device = str(more.pop("device", ""))
        time_ms = int(str(more.pop("time_ms", self.clock.now_us() // 1_000)))
        payload = encode_up("b1", seq, time_ms, rows, device=device)
        self.feed.put(f"courtyard/v1/{principal}/up", payload, **more)  # type: ignore[arg-type]
        return payload
