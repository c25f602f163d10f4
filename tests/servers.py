"""Real servers for tests: a mosquitto of our own, and a relay that spoils the way to it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOOPBACK = "127.0.0.1"
PATIENCE_S = 30.0


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    """Polls; AssertionError says what did not come to pass."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still not true: {what}")
        time.sleep(0.005)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


class Mosquitto:
    """Debian's broker with its own folder and port, stopped by its pid. Its limits are raised: by
    default it drops QoS 1 messages that it has acknowledged (1,000 queued, 20 in flight).
    `persistent` keeps sessions and queues over an orderly restart, `autosave` also over a kill (and
    writes the whole database anew at every change: a few hundred messages a second)."""

    def __init__(
        self,
        folder: Path,
        *,
        persistent: bool = False,
        autosave: bool = False,
        extra: str = "",
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._persistent = persistent or autosave
        self._autosave = autosave
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None
        program = shutil.which("mosquitto", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise RuntimeError(
                "mosquitto is not installed; run: sudo apt-get install mosquitto"
                " (or tests/install-servers.sh)"
            )
        self._program = program

    @property
    def url(self) -> str:
        return f"mqtt://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("this mosquitto does not run")
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(self._config())
        self._process = subprocess.Popen([self._program, "-c", str(config)])
        process = self._process
        wait_until(
            lambda: _listens(self.port) or process.poll() is not None, "mosquitto takes connections"
        )
        if process.poll() is not None:
            self._process = None
            raise RuntimeError(f"mosquitto did not start:\n{self.log}")

    def stop(self) -> None:
        """An orderly end: a persistent one saves its sessions and queues."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_S)
            self._process = None

    def _config(self) -> str:
        lines = [
            f"listener {self.port} {LOOPBACK}",
            "allow_anonymous true",
            # started by root it would become a user who may not write into this folder
            f"user {pwd.getpwuid(os.getuid()).pw_name}",
            "max_queued_messages 0",
            "max_inflight_messages 1000",
            "set_tcp_nodelay true",
            "sys_interval 1",
            f"log_dest file {self.folder / 'mosquitto.log'}",
            f"persistence {str(self._persistent).lower()}",
        ]
        if self._persistent:
            lines += [f"persistence_location {self.folder}/"]
        if self._autosave:
            lines += ["autosave_on_changes true", "autosave_interval 1"]
        return "\n".join([*lines, self._extra, ""])


@contextmanager
def start_mosquitto(
    folder: Path, *, persistent: bool = False, autosave: bool = False, extra: str = ""
) -> Iterator[Mosquitto]:
    """A running broker in an own folder; `extra` are more lines of its configuration."""
    broker = Mosquitto(folder / "mosquitto", persistent=persistent, autosave=autosave, extra=extra)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Relay:
    """A TCP relay before a server: `latency_s` for every piece, `black_hole` (connections stay,
    bytes vanish), `cut` (connections are reset), `close` and `open` the door for new ones."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.latency_s = 0.0
        self.black_hole = False
        self.connections = 0
        self._target = target
        self._door: socket.socket | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"mqtt://{LOOPBACK}:{self.port}"

    def open(self) -> None:
        door = socket.create_server((LOOPBACK, self.port))
        self._door = door
        self._start(lambda: self._welcome(door))

    def close(self) -> None:
        if self._door is not None:
            # closing alone does not wake a thread that waits in accept
            with suppress(OSError):
                self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
            self._door = None

    def cut(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _reset(end)

    def end(self) -> None:
        self.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _welcome(self, door: socket.socket) -> None:
        while True:
            try:
                client, _ = door.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((LOOPBACK, self._target), timeout=5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            self.connections += 1
            with self._lock:
                self._pairs.append((client, server))
            self._start(lambda a=client, b=server: self._carry(a, b))  # type: ignore[misc]
            self._start(lambda a=client, b=server: self._carry(b, a))  # type: ignore[misc]

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.latency_s:
                    time.sleep(self.latency_s)
                if not self.black_hole:
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            mine = [pair for pair in self._pairs if source in pair]
            for pair in mine:
                self._pairs.remove(pair)
        for pair in mine:
            for end in pair:
                end.close()


def _reset(end: socket.socket) -> None:
    """The other side sees a reset, not an orderly end; a thread that reads here wakes up."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def start_relay(target: int) -> Iterator[Relay]:
    relay = Relay(target)
    relay.open()
    try:
        yield relay
    finally:
        relay.end()
