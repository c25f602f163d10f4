"""Real recordings through the whole service: broker, journal, rules, history, page, mail."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import msgspec
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from playwright.sync_api import sync_playwright

from ingest.clock import US_PER_S
from ingest.readings import SeriesTable
from ingest.site import read_registry
from ingest.stores.embedded import open_store
from simulators.publisher import publish
from simulators.recorded import (
    Recording,
    expected_readings,
    implausible_readings,
    recorded_messages,
    recorded_truth,
)
from simulators.score import Alert, Score, score
from simulators.service import announced
from tests.servers import Mosquitto, free_port
from tests.service import Courtyard, wait_for

SITE = Path(__file__).parents[1] / "simulators" / "sites" / "recorded.yaml"
CHROMIUM = "/usr/bin/chromium"
LEAD_S = 3.0  # wall seconds between the births and a recording's first row

CONFIG = """\
[http]
port = {port}

[keep]
drain_seconds = {drain}

[clock]
start = "2026-11-02T00:00:00Z"
speed = {speed}
allow_simulated = true

[email]
url = "smtp://127.0.0.1:{smtp}"
from = "alarm@courtyard.example"

[[subscribers]]
name = "duty"
address = "duty@courtyard.example"
language = "en"
min_severity = "warning"
"""


@dataclass
class Postbox:
    """A real SMTP server's handler: keeps what was delivered."""

    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        self.mails.append(message_from_bytes(content, policy=policy.default))
        return "250 2.0.0 Ok: queued"


@contextmanager
def mail_server() -> Iterator[tuple[Postbox, int]]:
    postbox, port = Postbox(), free_port()
    controller = Controller(postbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield postbox, port
    finally:
        controller.stop()


@dataclass(frozen=True)
class Played:
    """What became of recordings: counts, and the alerts against the labels."""

    expected: int
    stored: int
    score: Score
    alerts: list[dict[str, Any]]
    mails: list[EmailMessage]
    worst_lag_s: float

    def figures(self) -> str:
        result = self.score
        delays = sorted(d / 60 for m in result.matches if (d := m.delay_s) is not None)
        median = f"{delays[len(delays) // 2]:.1f} min" if delays else "–"
        return (
            f"{self.stored:,} of {self.expected:,} readings in history; {len(self.alerts)} alerts: "
            f"{result.true_alerts} true, {len(result.false)} false; "
            f"{result.found} of {len(result.matches)} labelled faults found, "
            f"median delay {median}; "
            f"{len(self.mails)} mails delivered"
        )


def play(
    recordings: Sequence[Recording],
    mosquitto: Mosquitto,
    folder: Path,
    speed: float,
    picture: Path | None = None,
    tolerance_s: float = 1_800.0,
) -> Played:
    """Plays recordings at `speed`; `picture` is where a screenshot of the page goes, taken while
    an alert is open. An alert finds a fault if it starts inside it or up to `tolerance_s` after."""
    with mail_server() as (postbox, smtp):
        port = free_port()
        config = CONFIG.format(port=port, smtp=smtp, speed=speed, drain=speed)
        with Courtyard(folder, mosquitto.url, site_of(recordings), None, config) as service:
            service.start("run")
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{url}/readyz"), "the service is ready", 120)
            clock = wait_for(lambda: announced(mosquitto.url), "the service announces").clock()
            start_us = clock.now_us() + int(LEAD_S * speed * US_PER_S)
            messages = recorded_messages(recordings, read_registry(SITE), start_us)
            done = publish(messages, mosquitto.url, clock)
            expected = expected_readings(recordings) - implausible_readings(recordings)
            wait_for(lambda: stored(service.data) >= expected, "history is complete", 180)
            if picture is not None:
                take_picture(url, picture)
            alerts = _alerts(url, recordings)
            wait_for(lambda: _told(url), "all notices are out", 120)
            truth = recorded_truth(recordings, start_us)
            told = [_as_alert(alert) for alert in alerts]
            return Played(
                expected,
                stored(service.data),
                score(truth, told, tolerance_s),
                alerts,
                list(postbox.mails),
                done.worst_lag_s,
            )


def site_of(recordings: Sequence[Recording]) -> str:
    """The site of all recordings, without the devices that stay silent: they would be alerted."""
    played = {recording.device for recording in recordings}
    lines = SITE.read_text(encoding="utf-8").splitlines(keepends=True)
    device = re.compile(r"  - \{id: ((?:pump|circuit)-[\w-]+)")
    return "".join(
        line for line in lines if not (named := device.match(line)) or named[1] in played
    )


def stored(data: Path) -> int:
    """Readings in history; a series and time counts once."""
    store = open_store(data / "history")
    try:
        return sum(len(part) for part in store.scan(0, 2**62, SeriesTable()))
    finally:
        store.close()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return msgspec.json.decode(answer.read())


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _alerts(url: str, recordings: Sequence[Recording]) -> list[dict[str, Any]]:
    """All alerts of the recorded devices, by start; their gateway is not one of them."""
    devices = {recording.device for recording in recordings}
    found, cursor = [], ""
    while True:
        page = get(f"{url}/api/v1/alerts?state=all&audience=all&limit=200{cursor}")
        # that a recording ends is no fault of its device
        found += [
            alert
            for alert in page["items"]
            if alert["device"] in devices and not alert["rule"].endswith("_offline")
        ]
        if not page.get("next"):
            return sorted(found, key=lambda alert: str(alert["started"]))
        cursor = f"&cursor={page['next']}"


def _told(url: str) -> bool:
    page = get(f"{url}/api/v1/notices?limit=200")
    return not any(notice["state"] in ("waiting", "leased") for notice in page["items"])


def _as_alert(alert: dict[str, Any]) -> Alert:
    fields = {"rule": alert["rule"], "device": alert["device"], "started_at": alert["started"]}
    return msgspec.convert({**fields, "ended_at": alert["resolved"]}, Alert, strict=False)


def take_picture(url: str, file: Path, width: int = 1280, height: int = 900) -> None:
    """What Debian's Chromium shows of the crew's page."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"{url}/?lang=en")
            time.sleep(1)
            page.screenshot(path=str(file))
        finally:
            browser.close()
