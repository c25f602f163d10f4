"""Sites, buildings, devices and principals: what stands where, and who may speak for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

from ingest.device import DeviceType
from ingest.shelf import from_shelf


@dataclass(frozen=True, slots=True)
class Text:
    """What people read, in both languages."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Building:
    """`at` is where it stands on the plan, in metres east and north of the south-west corner."""

    id: str
    name: Text
    households: int
    stairwells: int
    at: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Device:
    """`principal` is the broker identity that speaks for it: its own, or its gateway's."""

    id: str
    type: str
    principal: str
    name: Text
    building: str = ""
    stairwell: int = 0
    gateway: str = ""
    tags: frozenset[str] = frozenset()
    params: Mapping[str, float] = field(default_factory=dict)
    external_ids: tuple[str, ...] = ()
    interval_s: float = 0.0  # 0: the type's

    @property
    def kind(self) -> DeviceType:
        return device_type(self.type)


@dataclass(frozen=True, slots=True)
class Principal:
    """A broker identity and the dialects in which it may speak."""

    name: str
    dialects: tuple[str, ...]


@dataclass(frozen=True)
class Registry:
    """One site. `version` changes with every edit of the file."""

    site: str
    name: Text
    time_zone: str
    households: int
    buildings: Mapping[str, Building]
    devices: Mapping[str, Device]
    principals: Mapping[str, Principal]
    version: str

    @cached_property
    def _voices(self) -> dict[tuple[str, str], Device]:
        voices: dict[tuple[str, str], Device] = {}
        for device in self.devices.values():
            for said in (device.id, *device.external_ids):
                voices[device.principal, said] = device
        for name in self.principals:
            if name in self.devices and self.devices[name].principal == name:
                voices[name, ""] = self.devices[name]
        return voices

    def speaks_for(self, principal: str, said: str) -> Device | None:
        """The device that `principal` means by `said` ("" = itself), if it may speak for it."""
        return self._voices.get((principal, said))

    def known_elsewhere(self, said: str) -> bool:
        """Whether `said` names a device of another principal: then this is no newcomer."""
        return said in self.devices


def device_type(word: str) -> DeviceType:
    """The device type of that name. LookupError names the nearest valid word."""
    return cast(DeviceType, from_shelf("ingest.devices", word, "DEVICE"))
