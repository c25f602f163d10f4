"""The watch process: ingest and rules. Wires the parts, recovers, and keeps house beside them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import cast

from api.hearing import Hearing, resume
from api.judge import Judge, recovered
from api.rulebooks import Watcher, keep, load, system_alert
from api.serve import open_history_store
from api.service_clock import open_clock
from api.settings import Settings
from ingest.announcement import TOPIC, announcement
from ingest.clock import Clock
from ingest.counters import plain
from ingest.cursors import read_cursors
from ingest.dialect import Dialect
from ingest.drain import Drain
from ingest.inputs import Control, Json
from ingest.mqtt import Listener, MqttConfig
from ingest.pipeline import Pipeline
from ingest.registry import Registry
from ingest.segments import SegmentWriter, open_reader, open_writer
from ingest.shelf import from_shelf
from ingest.site import read_registry
from ingest.status import write_status

log = logging.getLogger(__name__)

RELEASE_EVERY_S = 10.0
LOOK_EVERY_S = 1.0


@dataclass(slots=True)
class Parts:
    """What runs in this process."""

    settings: Settings
    clock: Clock
    journal: SegmentWriter
    listener: Listener
    pipeline: Pipeline
    drain: Drain
    judge: Judge
    rulebook: Watcher
    controls: deque[Control] = field(default_factory=deque)
    hearing: Hearing = field(default_factory=Hearing)
    dropped: int = 0
    released_s: float = 0.0


def run_watch(settings: Settings, stop: threading.Event, *, supervised: bool) -> None:
    """Until `stop`. DocumentError: a broken site, or (unless supervised, where the one that was in
    force goes on) a broken rulebook."""
    with _opened(settings, supervised=supervised) as parts:
        failure: list[BaseException] = []
        worker = threading.Thread(target=_work, args=(parts, stop, failure), name="pipeline")
        parts.listener.start()
        parts.drain.start()
        worker.start()
        try:
            while not stop.wait(LOOK_EVERY_S):
                _keep_house(parts)
        finally:
            stop.set()
            worker.join()
            parts.listener.stop()
            parts.drain.stop()
            _keep_house(parts)
        if failure:
            raise failure[0]
        parts.judge.save()


def _work(parts: Parts, stop: threading.Event, failure: list[BaseException]) -> None:
    try:
        parts.pipeline.run(stop)
    except BaseException as error:
        log.exception("pipeline ended")
        failure.append(error)
        stop.set()


@contextmanager
def _opened(settings: Settings, *, supervised: bool) -> Iterator[Parts]:
    registry = read_registry(settings.site)
    clock = open_clock(settings)
    data = settings.data_dir
    if not supervised:
        load(settings.rulebook)
    journal = open_writer(
        data / "journal",
        segment_seconds=settings.keep.segment_seconds,
        segment_bytes=settings.keep.segment_bytes,
        keep_seconds=settings.keep.journal_hours * 3_600,
        quarantine_rows=settings.keep.quarantine_rows,
    )
    reader = open_reader(data / "journal")
    store = open_history_store(settings)
    drain = Drain(store, reader, clock, data / "cursors", every_s=settings.keep.drain_seconds)
    controls: deque[Control] = deque()
    try:
        judge = recovered(
            journal,
            reader,
            data / "checkpoints",
            lambda: load(settings.rulebook),
            registry,
            clock.now_us(),
        )
        resume(judge, journal, clock.now_us())
        book = judge.state.rulebook
        keep(data, book)
        controls.extend(_recovery_alerts(judge))
        listener = _listener(settings, registry, clock, journal)
        pipeline = Pipeline(
            listener,
            journal,
            registry,
            dialects(registry),
            judge,
            clock,
            prints=journal.prints,
            controls=lambda: _drained(controls),
        )
        rulebook = Watcher(settings.rulebook, data, book.sha256)
        yield Parts(settings, clock, journal, listener, pipeline, drain, judge, rulebook, controls)
    finally:
        store.close()
        reader.close()
        journal.close()


def dialects(registry: Registry) -> list[Dialect]:
    """All that a principal of the site may speak."""
    words = sorted({word for who in registry.principals.values() for word in who.dialects})
    return [cast(Dialect, from_shelf("ingest.dialects", word, "DIALECT")) for word in words]


def _listener(
    settings: Settings, registry: Registry, clock: Clock, journal: SegmentWriter
) -> Listener:
    mqtt = settings.mqtt
    config = MqttConfig(
        url=mqtt.url,
        filters=tuple(name for dialect in dialects(registry) for name in dialect.filters),
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        client_id=mqtt.client_id,
        protocol=mqtt.protocol,
        keepalive_s=mqtt.keepalive_s,
        session_expiry_s=mqtt.session_expiry_s,
        max_queued_messages=mqtt.max_queued_messages,
        max_queued_bytes=mqtt.max_queued_bytes,
        announce=((TOPIC, announcement(clock)),),
    )
    return Listener(config, clock, epoch=journal.prints.epoch, after_us=journal.now_us)


def _drained(controls: deque[Control]) -> tuple[Control, ...]:
    return tuple(controls.popleft() for _ in range(len(controls)))


def _recovery_alerts(judge: Judge) -> list[Control]:
    """What a person should know of the recovery."""
    alerts = []
    if judge.differing:
        n = judge.differing
        zh = f"重启后重算的告警与记录有 {n} 批不同，以记录为准"
        en = f"Alert changes of {n} batches, computed again after a restart, are not the recorded"
        alerts.append(system_alert(0, "SYS_recovery_differs", "firing", zh, en))
    if judge.begun_anew:
        zh, en = "检查点不可用，规则状态重新开始", "No checkpoint could be used: rules begin anew"
        alerts.append(system_alert(0, "SYS_rules_begun_anew", "firing", zh, en))
    return alerts


def _keep_house(parts: Parts) -> None:
    """Once a second, beside the pipeline: what may take its time."""
    now_us = parts.clock.now_us()
    parts.controls.extend(parts.rulebook.look(now_us))
    parts.controls.extend(parts.hearing.look(parts.listener.connected, now_us))
    _watch_broker(parts, now_us)
    if time.monotonic() - parts.released_s >= RELEASE_EVERY_S:
        parts.released_s = time.monotonic()
        parts.journal.release(_done_with(parts))
    write_status(parts.settings.data_dir / "status", "watch", _status(parts, now_us))


def _done_with(parts: Parts) -> int:
    """Up to which batch no consumer, and no recovery, needs the journal any more."""
    cursors = read_cursors(parts.settings.data_dir / "cursors")
    if "drain" not in cursors:
        return 0
    done = [c.batch if c.journal == parts.journal.id else 0 for c in cursors.values()]
    return min(parts.judge.checkpoints.newest, *done)


def _watch_broker(parts: Parts, now_us: int) -> None:
    dropped = parts.listener.counters.broker_dropped
    if dropped <= parts.dropped:
        return
    parts.controls.append(
        system_alert(
            now_us,
            "SYS_broker_dropped",
            "firing",
            f"消息服务器丢弃了 {dropped} 条消息：请提高 max_queued_messages",
            f"The broker dropped {dropped} messages: raise its max_queued_messages",
        )
    )
    parts.dropped = dropped


def _status(parts: Parts, now_us: int) -> dict[str, Json]:
    drain = asdict(parts.drain.status())
    return {
        "pid": os.getpid(),
        "at_us": now_us,
        "wall_us": time.time_ns() // 1_000,
        "connected": parts.listener.connected,
        "protocol": parts.listener.protocol,
        "problem": parts.listener.problem,
        "queued": parts.listener.queued,
        "batch": parts.pipeline.last,
        "checkpoint": parts.judge.checkpoints.newest,
        "checkpoint_failures": parts.judge.checkpoints.failures,
        "drained": drain["batch"],
        "recovery_differences": parts.judge.differing,
        "recovered_batches": parts.judge.recovered,
        "step_s": round(parts.judge.step_s, 3),
        "rulebook": parts.rulebook.in_force[:12],
        "rulebook_broken": parts.rulebook.broken,
        **plain(parts.pipeline.counters),
        "listener": plain(parts.listener.counters),
        "drain": drain,
    }
