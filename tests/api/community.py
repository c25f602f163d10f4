"""A community in a folder, as watch and respond would have left it, for the tests of the API."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvicorn
from sqlalchemy import Engine

from api.app import create_app
from api.parts import Parts
from ingest.changes import Audience, Change, ChangeState, Severity
from ingest.clock import US_PER_S, Clock, format_us
from ingest.history import History
from ingest.inputs import Inputs, Json, Presence
from ingest.journal import Batch, Quarantined
from ingest.readings import Readings, Series
from ingest.registry import Registry
from ingest.segments import SegmentReader, SegmentWriter, open_reader, open_writer
from ingest.site import read_registry
from ingest.status import write_status
from ingest.stores.memory import Memory
from response.db import writing
from response.migrate import open_database
from response.outbox import Public, take_in
from response.subscribers import Subscriber
from rules.rule import Rule
from rules.rulebook import load_rulebook

SITE = """
site: {id: rihuali, name: {zh: 日华里小区, en: Rihuali}, households: 96}
buildings:
  - {id: b7, name: {zh: 7号楼, en: Building 7}, households: 48, stairwells: 4, at: [20, 16]}
  - {id: b8, name: {zh: 8号楼, en: Building 8}, households: 48, stairwells: 4, at: [92, 16]}
devices:
  - id: pump-1
    type: pump
    name: {zh: 1号生活水泵, en: Supply pump 1}
    building: b7
    tags: [supply]
  - {id: post-1, type: charging_post, name: {zh: 1号充电桩, en: Charging post 1}, building: b8}
  - id: meter-1
    type: circuit_meter
    name: {zh: 1单元回路电表, en: Stairwell 1 meter}
    building: b8
    stairwell: 1
  - {id: gw-1, type: gateway, name: {zh: 网关, en: Gateway}}
"""

RULES = """
rules:
  - id: P10_supply_pressure_low
    on: {type: pump, tag: supply}
    when: pressure < param.set_pressure - 50 kPa
    for: 2m
    clear: pressure > param.set_pressure - 30 kPa
    severity: serious
    message: {zh: "供水压力低 {pressure}", en: "Supply pressure low: {pressure}"}
"""

LI = Subscriber("li", "email", "li@example.org", "zh", "info")


class Value(NamedTuple):
    """One reading to be heard; `time_us` None: now."""

    device: str
    channel: str
    metric: str
    value: float
    time_us: int | None = None
    flags: int = 0


@dataclass
class Community:
    """`hear` commits a batch as watch does; `tell` fills the outbox as respond does."""

    folder: Path
    registry: Registry
    rules: tuple[Rule, ...]
    clock: Clock
    writer: SegmentWriter
    reader: SegmentReader
    cases: Engine
    options: dict[str, Any] = field(default_factory=dict)
    _arrival_us: int = 0

    def parts(self) -> Parts:
        return Parts(
            registry=self.registry,
            rulebook_rules=self.rules,
            reader=self.reader,
            history=History(Memory(), self.reader),
            cases=self.cases,
            clock=self.clock,
            data_dir=self.folder,
            **self.options,
        )

    def arrival_us(self) -> int:
        """Strictly increasing, as the pipeline stamps it."""
        self._arrival_us = max(self._arrival_us + 1, self.clock.now_us())
        return self._arrival_us

    def hear(
        self,
        *values: Value,
        changes: Sequence[Change] = (),
        presences: Sequence[Presence] = (),
        quarantined: Sequence[Quarantined] = (),
    ) -> int:
        """Commits one batch and gives its number."""
        known = len(self.writer.table)
        table = self.writer.table
        site = self.registry.site
        rows = list(table.rows)
        numbers = dict(table.numbers)
        for value in values:
            series = Series(site, value.device, value.channel, value.metric)
            if series not in numbers:
                numbers[series] = len(rows)
                rows.append(series)
        now_us = self.arrival_us()
        readings = Readings.of(
            [now_us if v.time_us is None else v.time_us for v in values],
            [now_us] * len(values),
            [numbers[Series(site, v.device, v.channel, v.metric)] for v in values],
            [v.value for v in values],
            [v.flags for v in values],
        )
        inputs = Inputs(readings, (), tuple(presences), (), tuple(rows[known:]))
        number = self.writer.last + 1
        self.writer.commit(Batch(number, now_us, inputs, tuple(changes), (), tuple(quarantined)))
        return number

    def hear_curve(
        self,
        series: tuple[str, str, str],
        since_us: int,
        step_s: float,
        numbers: Sequence[float] | np.ndarray[Any, Any],
    ) -> None:
        """A long row of readings of one series, arriving when they were measured."""
        device, channel, metric = series
        one = Series(self.registry.site, device, channel, metric)
        fresh = one not in self.writer.table.numbers
        number = self.writer.table.numbers.get(one, len(self.writer.table))
        n = len(numbers)
        times = since_us + (np.arange(n) * step_s * US_PER_S).astype(np.int64)
        readings = Readings(
            times,
            times,
            np.full(n, number, np.int32),
            np.asarray(numbers, np.float64),
            np.zeros(n, np.uint16),
        )
        inputs = Inputs(readings, (), (), (), (one,) if fresh else ())
        self.writer.commit(Batch(self.writer.last + 1, self.arrival_us(), inputs))

    def change(
        self,
        rule: str,
        device: str,
        zh: str,
        en: str,
        *,
        severity: Severity = "serious",
        audience: Audience = "people",
        channel: str = "main",
        ago_s: float = 60,
        evidence: Mapping[str, Json] | None = None,
    ) -> Change:
        """The beginning of an alert, `ago_s` before now."""
        started_us = (self.clock.now_us() - int(ago_s * US_PER_S)) // 1_000 * 1_000
        site = self.registry.site
        identity = f"{rule}|{site}|{device}|{channel}|{format_us(started_us)}"
        return Change(
            episode=hashlib.sha256(identity.encode()).hexdigest()[:16],
            rule=rule,
            site=site,
            device=device,
            channel=channel,
            severity=severity,
            audience=audience,
            state="firing",
            at_us=started_us,
            started_us=started_us,
            since_us=started_us - 120 * US_PER_S,
            text_zh=zh,
            text_en=en,
            evidence=evidence or {},
        )

    def low_pressure(self, ago_s: float = 60, **more: Any) -> Change:
        return self.change(
            "P10_supply_pressure_low",
            "pump-1",
            "7号楼供水压力低 268 kPa",
            "Supply pressure low in building 7: 268 kPa",
            ago_s=ago_s,
            **{"evidence": {"since": format_us(0), "values": {"pressure": 268.4}}, **more},
        )

    def later(self, change: Change, state: ChangeState, at_us: int | None = None) -> Change:
        """A further change of the same alert."""
        at_us = self.clock.now_us() if at_us is None else at_us
        names = change.__dataclass_fields__
        fields = {name: getattr(change, name) for name in names}
        return Change(**{**fields, "state": state, "at_us": at_us})

    def tell(self, *changes: Change, to: Sequence[Subscriber] = (LI,)) -> None:
        with writing(self.cases) as session:
            take_in(session, changes, Public(tuple(to), self.registry), self.clock.now_us())

    def alive(self, **status: Json) -> None:
        """Watch says that it lives."""
        write_status(self.folder / "status", "watch", {"messages": 1, **status})


@contextmanager
def community(
    folder: Path,
    *,
    site: str = SITE,
    rules: str = RULES,
    cases_from: Path | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> Iterator[Community]:
    """`options` go to Parts; `cases_from`: an empty case database, made before, to be copied."""
    (folder / "status").mkdir(parents=True, exist_ok=True)
    writer = open_writer(folder / "journal")
    reader = open_reader(folder / "journal")
    if cases_from is not None:
        shutil.copy(cases_from, folder / "cases.db")
    cases = open_database(f"sqlite:///{folder / 'cases.db'}")
    try:
        yield Community(
            folder,
            read_registry("site.yaml", site),
            tuple(load_rulebook("rules.yaml", rules).rules),
            clock or Clock(),
            writer,
            reader,
            cases,
            options,
        )
    finally:
        cases.dispose()
        reader.close()
        writer.close()


@contextmanager
def served(parts: Parts, port: int = 0) -> Iterator[str]:
    """The application on a free port of this machine, or on `port`; gives its address."""
    config = uvicorn.Config(
        create_app(parts),
        port=port,
        log_level="error",
        timeout_graceful_shutdown=1,
        ws="none",
        lifespan="on",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="served")
    thread.start()
    try:
        end = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < end, "the server did not start in time"
            time.sleep(0.01)
        given = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{given}"
    finally:
        server.should_exit = True
        thread.join(30)
