"""What a model is: all devices of one type, stepped together, and what they say at a step."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ingest.inputs import Json
from ingest.readings import Mask, Numbers
from ingest.registry import Device, Registry
from ingest.shelf import from_shelf

Levers = dict[str, NDArray[np.float64]]
"""Where a fault takes hold of a model: named arrays whose first axis is the device."""


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of one channel over all devices: `value` (n,), in the catalogue's unit; `said`
    (n,) which of them report it at this step, `fitted` (n,) which have such a sensor at all;
    None for all."""

    channel: str
    metric: str
    value: Numbers
    said: Mask | None = None
    fitted: Mask | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An event of the device in `row`, `after_us` after the step's moment."""

    row: int
    after_us: int
    id: str
    kind: str
    channel: str
    phase: Literal["start", "update", "end"]
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """What all devices of a type say at one step."""

    columns: tuple[Column, ...]
    occurrences: tuple[Occurrence, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What a model may know of the place. `dirty`: share of circuits with a long benign load."""

    registry: Registry
    seed: int
    dirty: float = 0.0

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.registry.time_zone)

    def rng(self, word: str) -> np.random.Generator:
        """A stream of its own for each word, the same for the same seed."""
        return np.random.default_rng([self.seed, zlib.crc32(word.encode())])


class Model(Protocol):
    """State is held in arrays with a row a device. Every random draw of a step has a shape that
    no fault can change, so that a fault leaves all other devices as they were."""

    warm_up_s: float
    """How long before the start it must run for its state to be one of ordinary operation."""

    levers: Levers

    def step(self, now_us: int, dt_s: float) -> Frame:
        """Moves on by `dt_s`, up to `now_us` of the service clock; says what is then measured."""
        ...


class MakeModel(Protocol):
    """A file on the models' shelf ends in a value `MODEL` that is one of these."""

    def __call__(self, devices: Sequence[Device], around: Surroundings) -> Model: ...


def model_of(word: str) -> MakeModel:
    """The model of a device type. LookupError names the nearest valid word."""
    return cast(MakeModel, from_shelf("simulators.models", word, "MODEL"))


def tagged(devices: Sequence[Device], tag: str) -> Mask:
    """(n,) which devices carry the tag."""
    return np.asarray([tag in device.tags for device in devices], dtype=np.bool_)


def parameter(devices: Sequence[Device], word: str) -> Numbers:
    """(n,) the devices' parameter, or their type's default."""
    return np.asarray(
        [device.params.get(word, device.kind.parameters[word].value) for device in devices],
        np.float64,
    )
