"""What a kind of rule is: how it looks at its instances, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.inputs import Json
from ingest.readings import Mask, Numbers, Times

Verdicts = NDArray[np.int8]
YES = np.int8(1)
NO = np.int8(0)
UNKNOWN = np.int8(-1)  # stale or missing input: neither counts towards `for` nor resolves
SILENT = np.int8(-2)  # nothing to say at this moment; the last word stands

Rows = NDArray[np.intp]
Columns = dict[str, NDArray[Any]]
"""What a kind remembers: named arrays, one row an instance. All of it goes into checkpoints."""

NEVER_US = np.int64(np.iinfo(np.int64).min)
FOREVER_US = np.int64(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class Scope:
    """`n` instances of a rule, and the `m` metrics that its kind asked for, in that order.

    `value` (n, m) is the latest, NaN where never seen or stale; `time_us` (n, m) its event time,
    NEVER_US where never seen; `fresh` (n, m) what came in just now; `heard_us` (n,) the last
    arrival of anything from the device; `known_us` (n,) since when the engine knows the instance;
    `now_us` (n,) the moment, always on the service clock; `seen_since_us[kind]` (n,) since when a
    camera of the same place (building, and stairwell where it has one) sees such a thing without
    a break, NEVER_US while none does.
    """

    value: Numbers
    time_us: Times
    fresh: Mask
    heard_us: Times
    known_us: Times
    now_us: Times
    parameters: Mapping[str, Numbers]
    seen_since_us: Mapping[str, Times]

    def __len__(self) -> int:
        return len(self.now_us)


@dataclass(frozen=True, slots=True)
class Told:
    """What a kind's field means, for whoever writes a rulebook: `Annotated[int, Told(zh, en)]`."""

    zh: str
    en: str


class Kind(Protocol):
    """A frozen dataclass whose fields are the rule's parameters. `KIND` in the file names it.

    A field is a str, int, float, bool, Literal, or a tuple of str; in the rulebook it has its own
    name, but `after_s: int` is written as a duration, `after: 5m`. `__post_init__` raises
    ValueError for a value that cannot be used (ExpressionError for a condition). The docstring's
    first paragraph is the reference manual.
    """

    per: ClassVar[Literal["channel", "device"]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics it looks at. An instance is a channel that has one of them (or a device), and
        all of them where the class says `needs_all = True`; what it lacks comes from `main`."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """The device parameters that it asks for, as in `param.set_pressure`."""
        ...

    @property
    def sightings(self) -> tuple[str, ...]:
        """The kinds of camera event that it asks for in `Scope.seen_since_us`."""
        ...

    def fresh_columns(self, n: int) -> Columns:
        """The memory of `n` new instances; an empty dict if it remembers nothing."""
        ...

    def observe(self, memory: Columns, rows: Rows, scope: Scope) -> Verdicts:
        """Something new came in for the instances `rows`, whose scope this is: (k,) verdicts.
        Every instance is at most once in `rows`. Only `memory[...][rows]` may be written."""
        ...

    def judge(self, memory: Columns, scope: Scope) -> Verdicts:
        """At a grid point (where the class says `timed = False`, only when a value went stale):
        (n,) verdicts. Writes nothing. Here and in `due_us` and `evidence` the n instances are those
        of `memory` and `scope`: any part of all, and each answers alone."""
        ...

    def due_us(self, memory: Columns, scope: Scope) -> Times:
        """(n,) the next time at which `judge` may answer otherwise though nothing comes in; a time
        that is not ahead of now is none. That values go stale the engine knows by itself."""
        ...

    def evidence(self, memory: Columns, scope: Scope, row: int) -> dict[str, Json]:
        """What to show a person about that instance, beside the metrics' values."""
        ...
