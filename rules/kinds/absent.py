"""Kind `absent`: a device that says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from ingest.clock import US_PER_S
from ingest.inputs import Json
from ingest.readings import Times
from rules.kind import NEVER_US, NO, SILENT, YES, Columns, Kind, Rows, Scope, Told, Verdicts


@dataclass(frozen=True)
class Absent:
    """Holds when nothing fresh has come from the device for `after`: no reading, no event, no
    word that it is online. A device that was never heard counts from when it became known."""

    after_s: Annotated[int, Told("多久无数据", "How long it is silent")]

    per: ClassVar[Literal["channel", "device"]] = "device"
    metrics: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[tuple[str, ...]] = ()
    sightings: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.after_s <= 0:
            raise ValueError("after must be longer than 0s")

    def fresh_columns(self, n: int) -> Columns:
        return {}

    def observe(self, memory: Columns, rows: Rows, scope: Scope) -> Verdicts:
        return np.full(len(scope), SILENT)

    def judge(self, memory: Columns, scope: Scope) -> Verdicts:
        # heard later than now: of the time until then the service itself heard nothing
        deaf = np.maximum(scope.heard_us, scope.known_us) > scope.now_us
        said = np.where(scope.now_us >= self.due_us(memory, scope), YES, NO)
        return np.where(deaf, SILENT, said)

    def due_us(self, memory: Columns, scope: Scope) -> Times:
        last: Times = np.maximum(scope.heard_us, scope.known_us)
        return last + self.after_s * US_PER_S

    def evidence(self, memory: Columns, scope: Scope, row: int) -> dict[str, Json]:
        heard = int(scope.heard_us[row])
        silent_us = int(scope.now_us[row]) - max(heard, int(scope.known_us[row]))
        return {"silent_s": silent_us // US_PER_S, "ever_heard": heard != int(NEVER_US)}


KIND = Absent
_: type[Kind] = Absent
