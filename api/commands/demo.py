"""`courtyard demo`: everything on this machine, with a simulated community, until Ctrl-C."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console

from api.supervisor import Child, Supervisor, child

BEGINS_AT_HOUR = 18  # local: people come home, and charging begins

# what goes wrong in the demo, and how long after its beginning
FAULTS = (
    "P10@supply-1@+3m",
    "CP01@post-05@+4m",
    "V04@cam-f07@+6m",
    "C01@m-b12-2@+10m",
    "N01@gw-b21@+45m",
    "P16@sump-1@+90m",
)

CONFIG = """\
data_dir = "data"
site = "site.yaml"
demo = true

[mqtt]
url = "mqtt://127.0.0.1:{broker}"
protocol = "3.1.1"

[http]
port = {port}

[keep]
drain_seconds = 600

[clock]
start = "{start}"
speed = {speed}
allow_simulated = true

[[subscribers]]
name = "值班室"
notifier = "memory"
address = "duty@courtyard.example"
language = "zh"
min_severity = "warning"

[[subscribers]]
name = "Manager"
notifier = "memory"
address = "manager@courtyard.example"
language = "en"
min_severity = "serious"
"""


@dataclass(frozen=True)
class Demo:
    """What was asked for. `duration_s` is wall time from the moment the page answers."""

    port: int
    folder: Path | None
    speed: float
    duration_s: int | None
    browser: bool
    seed: int = 1
    console: Console = field(default_factory=Console)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def run_demo(demo: Demo) -> None:
    """Returns when all of it has stopped. OSError: the port is taken."""
    _refuse_taken(demo.port)
    with _folder(demo.folder) as folder:
        broker = _free_port()
        config = _set_up(folder, demo, broker)
        looker = _Looker(demo)
        supervisor = Supervisor(_children(config, folder, demo, broker), looker.look)
        looker.supervisor = supervisor
        _say(
            demo.console,
            f"Courtyard demo: 日华里, 30 buildings, {demo.speed:g} x real time. Its built-in "
            f"broker promises nothing: for a real site use mosquitto.\nData: {folder}",
        )
        supervisor.run()
        _say(demo.console, "Stopped.")


def _children(config: Path, folder: Path, demo: Demo, broker: int) -> list[Child]:
    url = f"mqtt://127.0.0.1:{broker}"
    faults = [part for fault in FAULTS for part in ("--fault", fault)]
    return [
        child("demo-broker", "--port", str(broker)),
        *(child(name, "--config", str(config)) for name in ("watch", "respond", "serve")),
        child(
            "simulate",
            *("--site", str(folder / "site.yaml"), "--broker", url, "--seed", str(demo.seed)),
            *("--truth", str(folder / "truth.ndjson"), "--quiet", "--wait", *faults),
        ),
    ]


def _set_up(folder: Path, demo: Demo, broker: int) -> Path:
    with as_file(files("simulators") / "sites" / "rihuali.yaml") as site:
        shutil.copyfile(site, folder / "site.yaml")
    zone = ZoneInfo("Asia/Shanghai")
    yesterday = datetime.now(zone) - timedelta(days=1)
    begins = yesterday.replace(hour=BEGINS_AT_HOUR, minute=0, second=0, microsecond=0)
    start = f"{begins.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    config = folder / "courtyard.toml"
    text = CONFIG.format(broker=broker, port=demo.port, start=start, speed=demo.speed)
    config.write_text(text, encoding="utf-8")
    return config


@contextmanager
def _folder(asked: Path | None) -> Iterator[Path]:
    if asked is not None:
        asked.mkdir(parents=True, exist_ok=True)
        yield asked.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="courtyard-demo-") as name:
        yield Path(name)


@dataclass
class _Looker:
    """Waits for the page, says where it is, and ends the demo when its time is over."""

    demo: Demo
    supervisor: Supervisor | None = None
    ready_s: float | None = None

    def look(self) -> None:
        if self.ready_s is None:
            if _answers(f"{self.demo.url}/healthz"):
                self.ready_s = time.monotonic()
                self._tell()
            return
        limit_s = self.demo.duration_s
        if limit_s is not None and time.monotonic() - self.ready_s >= limit_s and self.supervisor:
            self.supervisor.stop()

    def _tell(self) -> None:
        url = self.demo.url
        _say(
            self.demo.console,
            f"\n  The crew's page        {url}/?lang=en   ({url}/ in Chinese)\n"
            f"  Mails that would go    {url}/notices\n"
            f"  Not let in, and why    {url}/quarantine\n"
            f"  API                    {url}/api/v1/openapi.json\n\nCtrl-C ends all of it.\n",
        )
        if self.demo.browser:
            webbrowser.open(url)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _refuse_taken(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise OSError(f"port {port} is taken ({error.strerror}); choose one with --port") from None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
