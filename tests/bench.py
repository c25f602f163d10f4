"""`make bench`: what is measured against a reference in the same run, into docs/results.md."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ingest.dialects.native import encode_up
from ingest.journal import follow
from ingest.status import read_status
from simulators.recorded import circuit_recordings, pump_recordings
from tests.publisher import Message, Publisher
from tests.recordings import answers, play
from tests.servers import Mosquitto, free_port, start_mosquitto
from tests.service import Courtyard, meters_site, wait_for

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results.md"
DEVICES = 1_000
PROTOCOLS = {"5": mqtt.MQTTv5, "3.1.1": mqtt.MQTTv311}


@dataclass(frozen=True)
class Measured:
    """One line of the results page."""

    what: str
    figures: str
    target: str


def nine_rules_a_reading() -> str:
    """Nine threshold rules on each of the four metrics, and absence."""
    limits = {"power.active": 5_000, "voltage": 260, "current": 30, "temperature": 60}
    lines = ["rules:"]
    for metric, limit in limits.items():
        for step in range(9):
            word = metric.replace(".", "_")
            lines.append(
                f"  - {{id: {word}_{step}, on: {{type: circuit_meter}}, for: {step * 10}s, "
                f"when: {metric} > {limit + step}, severity: warning, message: {{zh: x, en: x}}}}"
            )
    lines.append(
        "  - {id: gone, on: {type: circuit_meter}, kind: absent, after: 10m, severity: warning, "
        "message: {zh: x, en: x}}"
    )
    return "\n".join(lines) + "\n"


def load(count: int, first: int = 0) -> list[Message]:
    """`count` messages of four readings each, over all devices, at wall time."""
    now_ms = time.time_ns() // 1_000_000
    return [
        (
            f"courtyard/v1/m{n % DEVICES}/up",
            encode_up(
                "b",
                n,
                now_ms + n // DEVICES,
                [
                    ("main", "power.active", 100.0 + n % 97),
                    ("main", "voltage", 220.5 + n % 7),
                    ("main", "current", 0.5 + n % 5),
                    ("main", "temperature", 20.25 + n % 11),
                ],
            ),
        )
        for n in range(first, first + count)
    ]


def _count_only(port: int, protocol: str, count: int, ready: Connection) -> None:
    """A bare subscriber of the same protocol version that only counts: the reference."""
    times: list[float] = []
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        "bare",
        protocol=PROTOCOLS[protocol],
        reconnect_on_failure=False,
    )

    def on_message(_client: mqtt.Client, _data: object, _message: mqtt.MQTTMessage) -> None:
        times.append(time.perf_counter())
        if len(times) == count:
            ready.send(count / (times[-1] - times[0]))

    client.on_message = on_message
    client.on_subscribe = lambda *_: ready.send("subscribed")
    client.connect("127.0.0.1", port)
    client.subscribe("courtyard/v1/+/up", 1)
    client.loop_forever()


def bare_rate(broker: Mosquitto, protocol: str, count: int) -> float:
    """Messages a second of the reference."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_count_only, args=(broker.port, protocol, count, theirs)
    )
    process.start()
    try:
        ours.recv()
        with Publisher(broker.port) as publisher:
            publisher.publish(load(count))
        return float(ours.recv())
    finally:
        process.kill()
        process.join()


def courtyard_rate(broker: Mosquitto, protocol: str, count: int, folder: Path) -> float:
    """Messages a second from the first to the last, each committed, on the same broker."""
    config = f'[mqtt]\nurl = "{broker.url}"\nprotocol = "{protocol}"\nclient_id = "{folder.name}"\n'
    site, rules = meters_site(DEVICES), nine_rules_a_reading()
    with Courtyard(folder, broker.url, site, rules, config) as service:
        service.watching()
        reader = service.reader()
        try:
            with Publisher(broker.port) as publisher:
                warm = load(DEVICES)
                publisher.publish(warm)
                wait_for(lambda: messages_in(service) >= DEVICES, "warm")
                before = reader.last()
                publisher.publish(load(count, DEVICES))
            wait_for(lambda: messages_in(service) >= DEVICES + count, "all are committed", 120)
            batches = [b for b in follow(reader, before) if len(b.inputs.readings)]
            readings = sum(len(batch.inputs.readings) for batch in batches)
            if readings != 4 * count:
                raise AssertionError(f"{readings} readings of {4 * count} are in the journal")
            first_us = min(int(batch.inputs.readings.arrival_us[0]) for batch in batches)
            return count / ((committed_us(service) - first_us) / 1e6)
        finally:
            reader.close()


def messages_in(service: Courtyard) -> int:
    status = read_status(service.data / "status", "watch") or {}
    return int(str(status.get("readings", 0))) // 4  # counted after the commit


def committed_us(service: Courtyard) -> int:
    """When the last batch with readings was committed, on the clock of arrival."""
    status = read_status(service.data / "status", "watch") or {}
    return int(str(status["committed_us"]))


def end_to_end(rounds: int, count: int) -> list[Measured]:
    found = []
    for protocol in PROTOCOLS:
        ratios, ours, bare = [], [], []
        for turn in range(rounds):
            with tempfile.TemporaryDirectory() as name, start_mosquitto(Path(name)) as broker:
                bare.append(bare_rate(broker, protocol, count))
                ours.append(courtyard_rate(broker, protocol, count, Path(name) / f"c{turn}"))
            ratios.append(ours[-1] / bare[-1])
        found.append(
            Measured(
                f"end to end, MQTT {protocol}, {count} messages of 4 readings, 9 rules a reading",
                f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}, "
                f"n={rounds}): {statistics.median(ours):,.0f} of {statistics.median(bare):,.0f} "
                "messages/s",
                "≥ 0.8 of a bare subscriber",
            )
        )
    return found


def idle_memory() -> list[Measured]:
    """Resident memory of watch with 10,000 devices, each heard once."""
    with tempfile.TemporaryDirectory() as name, start_mosquitto(Path(name)) as broker:
        site = meters_site(10_000)
        with Courtyard(Path(name) / "c", broker.url, site, nine_rules_a_reading()) as service:
            process = service.watching()
            with Publisher(broker.port) as publisher:
                publisher.publish(
                    [
                        (f"courtyard/v1/m{n}/up", payload)
                        for n, (_, payload) in enumerate(load(10_000))
                    ]
                )
            wait_for(lambda: messages_in(service) >= 10_000, "all are committed", 120)
            time.sleep(5)
            resident = memory_mib(process.pid)
    what = "watch, 10,000 devices, 40,000 series, idle"
    return [Measured(what, f"{resident:.0f} MiB", "reported"), demo_memory()]


def demo_memory() -> Measured:
    """What the whole demo takes, 30 s after its page answers."""
    port = free_port()
    line = [sys.executable, "-m", "api", "demo", "--port", str(port), "--no-browser"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as demo:
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the demo is ready", 120)
            time.sleep(30)
            pids = [demo.pid, *children(demo.pid)]
            total = sum(memory_mib(pid) for pid in pids)
        finally:
            demo.terminate()
    return Measured(f"the demo, its {len(pids)} processes together", f"{total:.0f} MiB", "reported")


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may end while we look
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def memory_mib(pid: int) -> float:
    """Proportional memory of a process: what it shares is counted once over those that share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1_024
    raise LookupError(f"no Pss for {pid}")


def recordings(rounds: int, _count: int) -> list[Measured]:
    """The pump recordings and charges over a household, through the whole service."""
    data = Path(os.environ["COURTYARD_RECORDINGS"]) / "data"
    pictures = ROOT / "docs" / "pictures"
    found = []
    with tempfile.TemporaryDirectory() as name, start_mosquitto(Path(name)) as broker:
        pumps = play(
            pump_recordings(data),
            broker,
            Path(name) / "p",
            60.0,
            pictures / "recorded-pumps.png",
            tolerance_s=0.0,
        )
        found.append(Measured("21 pump recordings (SKAB) at 60 x", pumps.figures(), "reported"))
    for seed in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as name, start_mosquitto(Path(name)) as broker:
            circuits = circuit_recordings(data, seed=seed, count=20)
            played = play(circuits, broker, Path(name) / "c", 600.0)
            what = f"20 circuit-days, 10 with an e-bike charge, seed {seed}, at 600 x"
            found.append(Measured(what, played.figures(), "reported"))
    return found


BENCHES: dict[str, Callable[[int, int], list[Measured]]] = {
    "end-to-end": end_to_end,
    "memory": lambda _rounds, _count: idle_memory(),
    "recordings": recordings,
}


def record(measured: list[Measured]) -> str:
    """The lines for the results page, under date and commit."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    day = datetime.now(UTC).date()
    lines = [f"\n### {day}, commit {commit}, {cpu}, `make bench`\n", "| what | measured | target |"]
    lines.append("| - | - | - |")
    lines += [f"| {m.what} | {m.figures} | {m.target} |" for m in measured]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="which; none: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--no-write", action="store_true", help="print only")
    chosen = parser.parse_args()
    measured = []
    names = chosen.names or [
        name for name in BENCHES if name != "recordings" or "COURTYARD_RECORDINGS" in os.environ
    ]
    for name in names:
        measured += BENCHES[name](chosen.rounds, chosen.count)
        for entry in measured:
            print(f"{entry.what}: {entry.figures} (target: {entry.target})")
    if not chosen.no_write:
        RESULTS.write_text(RESULTS.read_text(encoding="utf-8") + record(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
