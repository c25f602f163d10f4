"""`courtyard simulate`: the community, or recordings, published to a broker; and how it scored."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from api.shutdown import stop_event
from ingest.clock import US_PER_S, Clock, format_us
from ingest.site import read_registry
from simulators import publisher
from simulators.faults import parse_fault, write_truth
from simulators.fleet import Fleet
from simulators.score import read_alerts, read_truth, score
from simulators.service import clock_for, wait_for_service

NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for. `speed` None: the service's clock, or wall time where none listens."""

    site: Path
    broker: str
    dialect: str = NATIVE
    speed: float | None = None
    duration_s: int | None = None
    faults: tuple[str, ...] = ()
    truth: Path | None = None
    seed: int = 1
    dirty: float = 0.0


def run_simulation(
    wanted: Wanted, *, quiet: bool = False, wait: bool = False, supervised: bool = False
) -> publisher.Progress | None:
    """Until `duration_s` of service time, or a signal. ValueError: a fault, speed or dialect that
    cannot be. With `wait`, begins when a service has announced itself on the broker."""
    if wanted.dialect != NATIVE:
        raise ValueError(f"the community speaks no {wanted.dialect!r}; there is: {NATIVE}")
    registry = read_registry(wanted.site)
    stop = stop_event(supervised=supervised)
    if wait and not wait_for_service(wanted.broker, stop):
        return None
    clock = clock_for(wanted.broker, wanted.speed)
    start_us = clock.now_us()
    planted = [parse_fault(text, registry, start_us) for text in wanted.faults]
    if wanted.truth is not None:
        write_truth((fault.truth for fault in planted), wanted.truth)
    fleet = Fleet(registry, seed=wanted.seed, start_us=start_us, faults=planted, dirty=wanted.dirty)
    until_us = None if wanted.duration_s is None else start_us + wanted.duration_s * US_PER_S
    return _publish(fleet, wanted.broker, _Run(clock, start_us, until_us, stop, quiet))


@dataclass(frozen=True, slots=True)
class _Run:
    clock: Clock
    start_us: int
    until_us: int | None
    stop: threading.Event
    quiet: bool


def _publish(fleet: Fleet, broker: str, run: _Run) -> publisher.Progress:
    total = None if run.until_us is None else (run.until_us - run.start_us) / US_PER_S
    console = Console(stderr=True, quiet=run.quiet)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(f"{len(fleet.registry.devices)} devices", total=total, told="")

        def told(progress: publisher.Progress) -> None:
            now_us = run.clock.now_us()
            text = (
                f"{format_us(now_us)[:19]}  {progress.acknowledged:,} messages"
                f"  lag {progress.lag_s:.0f} s"
            )
            shown.update(task, completed=(now_us - run.start_us) / US_PER_S, told=text)

        done = publisher.publish(
            fleet.messages(run.until_us), broker, run.clock, stop=run.stop, told=told
        )
    console.print(
        f"{done.acknowledged:,} of {done.published:,} messages acknowledged, "
        f"{done.payload_bytes / 1e6:.1f} MB, worst lag {done.worst_lag_s:.0f} s"
    )
    return done


def score_text(truth: Path, alerts: Path, site: Path | None) -> str:
    """Planted faults against alerts, as a table. With the site, the silence of what is behind a
    silent gateway is no false alert."""
    devices = read_registry(site).devices.values() if site else ()
    gateways = {device.id: device.gateway for device in devices}
    return score(read_truth(truth), read_alerts(alerts), gateways=gateways).text()
