"""The site file: a community as YAML, read into a registry, its mistakes told by line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from ingest.document import Document, DocumentError, Problem, Strict, read_document
from ingest.registry import Building, Device, Principal, Registry, Text, device_type
from ingest.shelf import shelf_words

RESERVED = ("provision", "service")


def _zone(word: str) -> str:
    try:
        ZoneInfo(word)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"no time zone called {word!r}; write one such as Asia/Shanghai") from None
    return word


Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class _Text(Strict):
    zh: str
    en: str


class _Site(Strict):
    id: Word
    name: _Text
    time_zone: Annotated[str, AfterValidator(_zone)] = "Asia/Shanghai"
    households: int = Field(0, ge=0)


class _Building(Strict):
    id: Word
    name: _Text
    households: int = Field(0, ge=0)
    stairwells: int = Field(1, ge=0)
    at: tuple[float, float] = (0.0, 0.0)


class _Principal(Strict):
    name: Word
    dialects: tuple[str, ...] = ("native",)


class _Device(Strict):
    id: Word
    type: str
    name: _Text | None = None
    principal: Word | None = None
    building: str = ""
    stairwell: int = Field(0, ge=0)
    gateway: str = ""
    tags: tuple[Word, ...] = ()
    params: dict[str, float] = Field(default_factory=dict)
    external_ids: tuple[str, ...] = ()
    interval_s: float = Field(0.0, ge=0)


class _File(Strict):
    site: _Site
    buildings: tuple[_Building, ...] = ()
    principals: tuple[_Principal, ...] = ()
    devices: tuple[_Device, ...] = ()


def read_registry(file: Path | str, text: str | None = None) -> Registry:
    """A site's YAML. Raises DocumentError with line and column of every problem."""
    document = read_document(file, text)
    parsed = document.parse(_File)
    problems = list(_disagreements(document, parsed))
    if problems:
        raise DocumentError(problems)
    devices = {entry.id: _device(entry) for entry in parsed.devices}
    principals = {entry.name: Principal(entry.name, entry.dialects) for entry in parsed.principals}
    for device in devices.values():
        principals.setdefault(device.principal, Principal(device.principal, ("native",)))
    return Registry(
        site=parsed.site.id,
        name=Text(parsed.site.name.zh, parsed.site.name.en),
        time_zone=parsed.site.time_zone,
        households=parsed.site.households,
        buildings={entry.id: _building(entry) for entry in parsed.buildings},
        devices=devices,
        principals=principals,
        version=document.sha256[:16],
    )


def _building(entry: _Building) -> Building:
    name = Text(entry.name.zh, entry.name.en)
    return Building(entry.id, name, entry.households, entry.stairwells, entry.at)


def _device(entry: _Device) -> Device:
    name = Text(entry.name.zh, entry.name.en) if entry.name else Text(entry.id, entry.id)
    return Device(
        id=entry.id,
        type=entry.type,
        principal=entry.principal or entry.id,
        name=name,
        building=entry.building,
        stairwell=entry.stairwell,
        gateway=entry.gateway,
        tags=frozenset(entry.tags),
        params=dict(entry.params),
        external_ids=entry.external_ids,
        interval_s=entry.interval_s,
    )


def _disagreements(document: Document, parsed: _File) -> list[Problem]:
    """What each part alone cannot know: doubles, and words that must name another part."""
    places = {entry.id for entry in parsed.buildings}
    gateways = {entry.id for entry in parsed.devices}
    problems = _doubles(document, parsed)
    for row, entry in enumerate(parsed.devices):
        problems += _device_problems(document, row, entry, places, gateways)
    return problems + _principal_problems(document, parsed)


def _doubles(document: Document, parsed: _File) -> list[Problem]:
    groups = (
        ("buildings", "id", [entry.id for entry in parsed.buildings]),
        ("devices", "id", [entry.id for entry in parsed.devices]),
        ("principals", "name", [entry.name for entry in parsed.principals]),
    )
    found = []
    for group, key, words in groups:
        first = {word: row for row, word in reversed(list(enumerate(words)))}
        found += [
            document.problem([group, row, key], f"{word!r} is there twice")
            for row, word in enumerate(words)
            if first[word] != row
        ]
    return found


def _device_problems(
    document: Document, row: int, device: _Device, places: set[str], gateways: set[str]
) -> list[Problem]:
    types = shelf_words("ingest.devices")
    if device.type not in types:
        text = f"no device type {device.type!r}; there are: {', '.join(types)}"
        return [document.problem(["devices", row, "type"], text)]
    found: list[tuple[list[str | int], str]] = []
    if device.building and device.building not in places:
        found.append((["building"], f"no building {device.building!r}"))
    if device.gateway and device.gateway not in gateways:
        found.append((["gateway"], f"no device {device.gateway!r}"))
    if device.principal in RESERVED:
        found.append((["principal"], f"{device.principal!r} is a reserved principal"))
    valid = device_type(device.type).parameters
    words = ", ".join(valid) or "none"
    found += [
        (["params", word], f"{device.type} has no parameter {word!r}; there are: {words}")
        for word in device.params
        if word not in valid
    ]
    return [document.problem(["devices", row, *path], text) for path, text in found]


def _principal_problems(document: Document, parsed: _File) -> list[Problem]:
    dialects = shelf_words("ingest.dialects")
    return [
        document.problem(
            ["principals", row, "dialects"],
            f"no dialect {word!r}; there are: {', '.join(dialects)}",
        )
        for row, principal in enumerate(parsed.principals)
        for word in principal.dialects
        if word not in dialects
    ]
