"""When the service itself heard nobody: no device is blamed for it, and people are told."""

from __future__ import annotations

import time
from dataclasses import dataclass

from api.judge import Judge
from api.rulebooks import system_alert
from ingest.clock import US_PER_S
from ingest.inputs import Control, Inputs
from ingest.journal import Batch, JournalWriter
from ingest.readings import Readings

AWAY = "SYS_broker_away"
AWAY_AFTER_S = 30.0
NOTICEABLE_US = 2 * US_PER_S


def resume(judge: Judge, journal: JournalWriter, now_us: int) -> None:
    """The first batch after a restart says for how long nobody listened, as if it had been known
    then: before the rules look at the time between."""
    deaf_us = now_us - judge.state.grid_us
    if not journal.last or deaf_us < NOTICEABLE_US:
        return
    inputs = Inputs(Readings.empty(), controls=(_deaf(judge.state.grid_us + 1, deaf_us),))
    changes = judge(inputs, now_us)
    journal.commit(Batch(journal.last + 1, now_us, inputs, changes))


def _deaf(arrival_us: int, deaf_us: int) -> Control:
    return Control(arrival_us, "deaf", arrival_us, {"deaf_us": deaf_us})


@dataclass(slots=True)
class Hearing:
    """Asked about once a second whether the broker is there. `now_us`: the service clock."""

    away_us: int | None = None  # since when, or up to when it has been said
    away_s: float | None = None  # the same moment of the first notice, on the wall's clock
    told: bool = False

    def look(self, connected: bool, now_us: int) -> tuple[Control, ...]:
        """What the rules must know of it: time in which nobody could be heard, and an alert."""
        if self.away_us is None:
            if not connected:
                self.away_us, self.away_s = now_us, time.monotonic()
            return ()
        controls = [_deaf(now_us, now_us - self.away_us)]
        self.away_us = now_us
        if connected:
            self.away_us = None
        controls += self._alert(connected, now_us)
        return tuple(controls)

    def _alert(self, connected: bool, now_us: int) -> list[Control]:
        if connected and self.told:
            self.told = False
            return [
                system_alert(now_us, AWAY, "resolved", "消息服务器已恢复", "The broker is back")
            ]
        long = self.away_s is not None and time.monotonic() - self.away_s >= AWAY_AFTER_S
        if connected or self.told or not long:
            return []
        self.told = True
        zh, en = (
            "与消息服务器断开，收不到任何设备的数据",
            "No connection to the broker: nobody is heard",
        )
        return [system_alert(now_us, AWAY, "firing", zh, en)]
