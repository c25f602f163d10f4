"""Which rulebook is in force: the file at start, later whatever of it could be read last."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from ingest.cursors import replace_file
from ingest.document import DocumentError
from ingest.inputs import Control, Json
from rules.rule import Rulebook
from rules.rulebook import load_rulebook, shipped_rulebook

log = logging.getLogger(__name__)

BROKEN = "SYS_rulebook_broken"
Stamp = tuple[int, int]  # modification time in ns, and size


def load(file: Path | None) -> Rulebook:
    """The operators' rulebook, or the shipped one. DocumentError names every mistake."""
    return shipped_rulebook() if file is None else load_rulebook(file)


def keep(folder: Path, rulebook: Rulebook) -> None:
    """Keeps the text in force, for a restart that finds the file broken."""
    replace_file(folder / "rulebook-in-force.yaml", rulebook.text.encode(), sync=True)


def kept(folder: Path) -> Rulebook | None:
    """The rulebook in force before the restart; None if there was none or it is not valid now."""
    file = folder / "rulebook-in-force.yaml"
    if not file.exists():
        return None
    try:
        return load_rulebook(file)
    except DocumentError as error:
        log.warning("the kept rulebook is not valid any more: %s", error)
        return None


@dataclass(slots=True)
class Watcher:
    """Looks at the operators' file and turns what it finds into control records."""

    file: Path | None
    folder: Path
    in_force: str  # sha256
    stamp: Stamp | None = None
    looked: bool = False
    broken: bool = False

    def look(self, arrival_us: int) -> tuple[Control, ...]:
        """Nothing, as long as the file has not changed; a new rulebook; or an alert that it is
        broken and the old one stays in force."""
        stamp = self._stamp()
        if self.looked and stamp == self.stamp:
            return ()
        self.looked, self.stamp = True, stamp
        try:
            rulebook = load(self.file)
        except (DocumentError, OSError, UnicodeDecodeError) as error:
            self.broken = True
            log.error("rulebook=%s broken, the old one stays in force: %s", self.file, error)
            return (_system(arrival_us, "firing", str(error)),)
        found = self._mended(arrival_us)
        if rulebook.sha256 != self.in_force:
            self.in_force = rulebook.sha256
            keep(self.folder, rulebook)
            body: dict[str, Json] = {"text": rulebook.text, "file": rulebook.file}
            found = (*found, Control(arrival_us, "rulebook", arrival_us, body))
            log.info("rulebook=%s in force sha256=%s", self.file, rulebook.sha256[:12])
        return found

    def _mended(self, arrival_us: int) -> tuple[Control, ...]:
        if not self.broken:
            return ()
        self.broken = False
        return (_system(arrival_us, "resolved", ""),)

    def _stamp(self) -> Stamp | None:
        try:
            found = self.file.stat() if self.file else None
        except OSError:
            return (0, 0)
        return None if found is None else (found.st_mtime_ns, found.st_size)


def _system(arrival_us: int, state: str, error: str) -> Control:
    first = error.split("\n")[0]
    return system_alert(
        arrival_us,
        BROKEN,
        state,
        f"规则文件有误，旧规则继续生效：{first}" if error else "规则文件已修正",
        f"Broken rulebook, the old one stays in force: {first}" if error else "Rulebook mended",
    )


def system_alert(arrival_us: int, code: str, state: str, zh: str, en: str) -> Control:
    """An alert about Courtyard itself, as an input like any other."""
    body: dict[str, Json] = {"code": code, "state": state, "severity": "serious"}
    return Control(arrival_us, "system", arrival_us, body | {"zh": zh, "en": en})
