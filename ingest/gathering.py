"""The messages of one batch become columns, events and presence; what may not in is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ingest import quarantine
from ingest.batch_bytes import has_bytes
from ingest.columns import numbers_column, times_column
from ingest.dialect import Decoded, Flaw, Inbound, Observation, Sighting, Signal
from ingest.inputs import Control, Event, Inputs, Presence
from ingest.journal import Quarantined
from ingest.learned import Learned
from ingest.metrics import CATALOGUE
from ingest.readings import Flag, Mask, Readings, Series
from ingest.registry import Device
from ingest.timestamps import Judged, judge
from ingest.voices import Refusal, Voice, Voices

SERIES_PER_DEVICE = 512
NAME_CHARACTERS = 64
ID_CHARACTERS = 128
TOLD = 3
"""Values that the detail of a quarantined message names; of the others it gives the number."""


@dataclass(slots=True)
class _Said:
    """An event or a signal, by whom and in which message."""

    inbound: Inbound
    principal: str
    device: Device
    what: Sighting | Signal


class Gathering:
    """One batch in the making."""

    def __init__(self, voices: Voices, learned: Learned) -> None:
        self.quarantined: list[Quarantined] = []
        self._voices = voices
        self._learned = learned
        self._series: list[int] = []
        self._values: list[float] = []
        self._times: list[int | None] = []
        self._flags: list[int] = []
        self._counts: list[int] = []
        self._inbounds: list[Inbound] = []
        self._principals: list[str] = []
        self._said: list[_Said] = []

    def __len__(self) -> int:
        """How many readings there are so far."""
        return len(self._series)

    def add(self, inbound: Inbound, voice: Voice, decoded: Decoded) -> None:
        """What a message says, as far as its sender may say it."""
        observations = decoded.observations
        if observations:
            self._observe(inbound, voice, observations)
        for sighting in decoded.sightings:
            self._sight(inbound, voice, sighting)
        for signal in decoded.signals:
            self._say(inbound, voice, signal.device, signal)
        if decoded.flaws:
            self._flawed(inbound, voice.principal, decoded.flaws)

    def refuse(
        self,
        inbound: Inbound,
        principal: str,
        reason: str,
        detail: str,
        *,
        who: str = "",
        limit: int = quarantine.SAMPLES,
    ) -> None:
        """Counts it, and keeps a sample while there are not too many of `who`, or else of the
        principal."""
        self._learned.counted[reason] += 1
        more = self._learned.samples.admit(who or principal, reason, inbound.arrival_us, limit)
        if more is not None:
            row = quarantine.quarantined(inbound, principal, reason, detail + more)
            self.quarantined.append(row)

    def inputs(self, controls: tuple[Control, ...], series_from: int) -> Inputs:
        """The batch for the engine; `series_from`: how many series earlier batches brought."""
        readings = self._readings() if self._series else Readings.empty()
        events, presences = self._judged_said() if self._said else ((), ())
        new_series = tuple(self._learned.table.rows[series_from:])
        return Inputs(readings, events, presences, controls, new_series)

    # observations

    def _observe(self, inbound: Inbound, voice: Voice, observations: list[Observation]) -> None:
        said, channels, metrics, values, times, flags = zip(*observations, strict=True)
        known = voice.numbers.__getitem__
        try:
            series = list(map(known, zip(said, channels, metrics, strict=True)))
        except KeyError:
            observations = self._learn(inbound, voice, observations)
            if observations:
                self._observe(inbound, voice, observations)
            return
        self._series += series
        self._values += values
        self._times += times
        self._flags += flags
        self._counts.append(len(series))
        self._inbounds.append(inbound)
        self._principals.append(voice.principal)

    def _learn(
        self, inbound: Inbound, voice: Voice, observations: list[Observation]
    ) -> list[Observation]:
        """Numbers the series that are new here, and returns the observations that have one."""
        kept, refused = [], {}
        for row in observations:
            key = row[:3]
            if key not in voice.numbers and key not in refused:
                number = self._number(voice.principal, *key)
                if isinstance(number, Refusal):
                    refused[key] = number
                else:
                    voice.numbers[key] = number
            if key in voice.numbers:
                kept.append(row)
        for reason in dict.fromkeys(refusal.reason for refusal in refused.values()):
            details = [r.detail for r in refused.values() if r.reason == reason]
            self.refuse(inbound, voice.principal, reason, _listed(details))
        return kept

    def _number(self, principal: str, said: str, channel: str, metric: str) -> int | Refusal:
        device = self._voices.device(principal, said)
        if isinstance(device, Refusal):
            return device
        if not _is_name(channel, NAME_CHARACTERS):
            return Refusal(principal, quarantine.BAD_NAME, f"channel {channel[:80]!r}: {_NAME}")
        if metric not in CATALOGUE:
            detail = f"{channel} {metric[:80]!r} is no metric of the catalogue"
            return Refusal(principal, quarantine.UNKNOWN_METRIC, detail)
        learned = self._learned
        series = Series(self._voices.registry.site, device.id, channel, metric)
        if series not in learned.table.numbers:
            if learned.per_device[device.id] >= SERIES_PER_DEVICE:
                detail = f"{device.id} has {SERIES_PER_DEVICE} series; {channel} {metric} is new"
                return Refusal(principal, quarantine.TOO_MANY_SERIES, detail)
            learned.per_device[device.id] += 1
        number = learned.table.number(series)
        learned.limits.put(number, *device.kind.bounds(channel, metric))
        return number

    def _readings(self) -> Readings:
        counts = np.asarray(self._counts, np.intp)
        message = np.repeat(np.arange(len(counts)), counts)
        arrivals = np.asarray([inbound.arrival_us for inbound in self._inbounds], np.int64)
        retained = np.asarray(
            [int(Flag.RETAINED) if inbound.retain else 0 for inbound in self._inbounds], np.uint16
        )
        series = np.asarray(self._series, np.int32)
        values = numbers_column(self._values)
        arrival_us = arrivals[message]
        flags = np.asarray(self._flags, np.uint16) | retained[message]
        judged = judge(times_column(self._times), arrival_us, flags)
        rows = Readings(judged.time_us, arrival_us, series, values, judged.flags)
        limits = self._learned.limits
        # NaN is not within any bounds
        plausible = (values >= limits.low[series]) & (values <= limits.high[series])
        good = plausible & ~judged.too_old
        if not good.all():
            self._refuse_rows(rows, message, plausible, judged.too_old)
        self._note_clocks(rows, message, judged)
        self._note_retained(message, retained, rows)
        return rows if good.all() else rows.take(good)

    def _refuse_rows(
        self, rows: Readings, message: NDArray[np.intp], plausible: Mask, too_old: Mask
    ) -> None:
        finite = np.isfinite(rows.value)
        self._refuse_where(~finite, message, quarantine.NOT_A_NUMBER, self._told_value, rows)
        outside = finite & ~plausible
        self._refuse_where(outside, message, quarantine.OUT_OF_BOUNDS, self._told_value, rows)
        old = plausible & too_old
        self._refuse_where(old, message, quarantine.TOO_OLD, self._told_age, rows)

    def _refuse_where(
        self,
        bad: Mask,
        message: NDArray[np.intp],
        reason: str,
        told: Callable[[Readings, int], str],
        rows: Readings,
    ) -> None:
        """One quarantined row a message."""
        for number in np.unique(message[bad]).tolist():
            mine = np.nonzero(bad & (message == number))[0].tolist()
            detail = _listed([told(rows, row) for row in mine[: TOLD + 1]], len(mine))
            self.refuse(self._inbounds[number], self._principals[number], reason, detail)

    def _told_value(self, rows: Readings, row: int) -> str:
        number = int(rows.series[row])
        series = self._learned.table.rows[number]
        low, high = self._learned.limits.low[number], self._learned.limits.high[number]
        return (
            f"{series.device} {series.channel} {series.metric} = {rows.value[row]:g}, "
            f"plausible is {low:g} to {high:g} {CATALOGUE[series.metric].unit}"
        )

    def _told_age(self, rows: Readings, row: int) -> str:
        series = self._learned.table.rows[int(rows.series[row])]
        days = (int(rows.arrival_us[row]) - int(rows.time_us[row])) / 86_400e6
        return f"{series.device} {series.channel} {series.metric} is {days:.1f} days old"

    def _note_clocks(self, rows: Readings, message: NDArray[np.intp], judged: Judged) -> None:
        for where, reason, text in (
            ((rows.flags & Flag.TS_UNSET) != 0, quarantine.CLOCK_UNSET, "was never set"),
            ((rows.flags & Flag.TS_UNIT) != 0, quarantine.CLOCK_UNIT, "counts another unit"),
            (judged.far_ahead, quarantine.CLOCK_FAR_AHEAD, "is more than a day ahead"),
        ):
            if where.any():
                self._note_clock(rows, message, where, reason, text)

    def _note_clock(
        self, rows: Readings, message: NDArray[np.intp], where: Mask, reason: str, text: str
    ) -> None:
        """Once a device and hour; the readings stay, at their time of arrival."""
        first: dict[str, int] = {}
        for row in np.nonzero(where)[0].tolist():
            first.setdefault(self._learned.table.rows[int(rows.series[row])].device, row)
        for device, row in first.items():
            number = int(message[row])
            said_us = self._times[row]
            said = "" if said_us is None else f": it says {said_us} µs since 1970"
            detail = f"the clock of {device} {text}{said}; arrival counts instead"
            self.refuse(
                self._inbounds[number],
                self._principals[number],
                reason,
                detail,
                who=f"device {device}",
                limit=1,
            )

    def _note_retained(
        self, message: NDArray[np.intp], retained: NDArray[np.uint16], rows: Readings
    ) -> None:
        for number in np.nonzero(retained)[0].tolist():
            n = int(np.count_nonzero(message == number))
            if n:
                detail = f"the broker's memory, not news: {n} readings count as last known only"
                self.refuse(
                    self._inbounds[number], self._principals[number], quarantine.RETAINED, detail
                )

    # events and presence

    def _sight(self, inbound: Inbound, voice: Voice, sighting: Sighting) -> None:
        names = ((sighting.channel, NAME_CHARACTERS), (sighting.kind, NAME_CHARACTERS))
        bad = [name[:80] for name, most in names if not _is_name(name, most)]
        if not _is_name(sighting.id, ID_CHARACTERS):
            bad.append(sighting.id[:80])
        if bad:
            detail = f"{', '.join(map(repr, bad))}: {_NAME}"
            self.refuse(inbound, voice.principal, quarantine.BAD_NAME, detail)
        elif not has_bytes(sighting.data):
            detail = "its data holds a number beyond 64 bits, or text that is not Unicode"
            self.refuse(inbound, voice.principal, quarantine.BAD_EVENT, detail)
        else:
            self._say(inbound, voice, sighting.device, sighting)

    def _say(self, inbound: Inbound, voice: Voice, said: str, what: Sighting | Signal) -> None:
        device = self._voices.device(voice.principal, said)
        if isinstance(device, Refusal):
            self.refuse(inbound, device.principal, device.reason, device.detail)
        else:
            self._said.append(_Said(inbound, voice.principal, device, what))

    def _judged_said(self) -> tuple[tuple[Event, ...], tuple[Presence, ...]]:
        arrivals = np.asarray([said.inbound.arrival_us for said in self._said], np.int64)
        retained = [int(Flag.RETAINED) if said.inbound.retain else 0 for said in self._said]
        device_us = times_column([said.what.time_us for said in self._said])
        judged = judge(device_us, arrivals, np.asarray(retained, np.uint16))
        events, presences = [], []
        for said, time_us, flags, too_old in zip(
            self._said,
            judged.time_us.tolist(),
            judged.flags.tolist(),
            judged.too_old.tolist(),
            strict=True,
        ):
            if isinstance(said.what, Signal):
                presences.append(self._presence(said, said.what, time_us, flags))
            elif too_old:
                days = (said.inbound.arrival_us - time_us) / 86_400e6
                detail = f"event {said.what.id} of {said.device.id} is {days:.1f} days old"
                self.refuse(said.inbound, said.principal, quarantine.TOO_OLD, detail)
            else:
                events.append(self._event(said, said.what, time_us, flags))
        return tuple(events), tuple(presences)

    def _event(self, said: _Said, sighting: Sighting, time_us: int, flags: int) -> Event:
        return Event(
            self._voices.registry.site,
            said.device.id,
            sighting.channel,
            sighting.kind,
            sighting.id,
            sighting.phase,
            time_us,
            said.inbound.arrival_us,
            flags,
            sighting.data,
        )

    def _presence(self, said: _Said, signal: Signal, time_us: int, flags: int) -> Presence:
        return Presence(
            self._voices.registry.site,
            said.device.id,
            signal.state,
            signal.source,
            time_us,
            said.inbound.arrival_us,
            flags,
        )

    def _flawed(self, inbound: Inbound, principal: str, flaws: Sequence[Flaw]) -> None:
        details = [f"{flaw.where}: {flaw.reason}" for flaw in flaws[: TOLD + 1]]
        self.refuse(inbound, principal, quarantine.BAD_PART, _listed(details, len(flaws)))


_NAME = "a name has 1 to 64 printable characters (an event's id 128), none of them |"


def _is_name(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isprintable() and "|" not in text


def _listed(details: Iterable[str], n: int | None = None) -> str:
    """The first few, and how many more there are."""
    details = list(details)
    more = (len(details) if n is None else n) - TOLD
    return "; ".join(islice(details, TOLD)) + (f"; and {more} more" if more > 0 else "")
