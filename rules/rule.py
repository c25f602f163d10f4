"""What a rule and a rulebook are, once they are read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ingest.changes import Audience, Severity
from ingest.registry import Device
from rules.kind import Kind


@dataclass(frozen=True, slots=True)
class Selector:
    """What a rule is about. Words are patterns as in file names (`post-*`); an empty tuple is any.

    A device fits when it fits one word of each tuple; of its tags, one is enough.
    """

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    buildings: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    channel: str = "*"

    def takes_device(self, site: str, device: Device) -> bool:
        """Whether the device of that site is meant, whatever its channels."""
        return (
            _fits(self.sites, (site,))
            and _fits(self.types, (device.type,))
            and _fits(self.tags, device.tags)
            and _fits(self.buildings, (device.building,))
            and _fits(self.devices, (device.id,))
        )

    def takes_channel(self, channel: str) -> bool:
        """Whether a channel of a device that fits is meant."""
        return fnmatchcase(channel, self.channel)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `clear` is the kind that says when it is over, None: when `kind` says no.

    `stale_after_s` None: each device type's own. `definition` is the sha256 of the rule's
    canonical content: two rules with the same one mean the same.
    """

    id: str
    on: Selector
    kind: Kind
    kind_word: str
    clear: Kind | None
    for_s: int
    clear_for_s: int
    keep_firing_s: int
    severity: Severity
    audience: Audience
    message_zh: str
    message_en: str
    stale_after_s: int | None
    standard: Mapping[str, str] | None
    definition: str


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules in the order of their file, with its name, its text, and the text's sha256."""

    rules: tuple[Rule, ...]
    sha256: str
    file: str
    text: str


def _fits(patterns: tuple[str, ...], words: Iterable[str]) -> bool:
    return not patterns or any(fnmatchcase(word, one) for word in words for one in patterns)
