"""Input that was not let in: why, and how many samples of it are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.clock import US_PER_S
from ingest.dialect import Inbound
from ingest.journal import Quarantined

# the whole message
TOPIC_NOT_UTF8 = "topic_not_utf8"
NO_DIALECT = "no_dialect"
TOO_LARGE = "too_large"
UNKNOWN_PRINCIPAL = "unknown_principal"
DIALECT_NOT_ALLOWED = "dialect_not_allowed"
UNDECODABLE = "undecodable"
DECODER_FAULT = "decoder_fault"
SPOOF_SUSPECT = "spoof_suspect"
# a part of a message; the rest of it stands
BAD_PART = "bad_part"
UNKNOWN_DEVICE = "unknown_device"
UNKNOWN_METRIC = "unknown_metric"
BAD_NAME = "bad_name"
TOO_MANY_SERIES = "too_many_series"
NOT_A_NUMBER = "not_a_number"
OUT_OF_BOUNDS = "out_of_bounds"
TOO_OLD = "too_old"
BAD_EVENT = "bad_event"
# a note: the input was let in, at its time of arrival or as no news
CLOCK_UNSET = "clock_unset"
CLOCK_UNIT = "clock_unit"
CLOCK_FAR_AHEAD = "clock_far_ahead"
RETAINED = "retained"

SAMPLE_BYTES = 4_096
DETAIL_CHARACTERS = 500
TOPIC_CHARACTERS = 300

WINDOW_US = 3_600 * US_PER_S
SAMPLES = 20
"""Of one principal and reason in an hour; the others are only counted."""
SAMPLES_OF_A_REASON = 2_000
"""Of one reason in an hour, whoever sent them: nobody's flood pushes out all the others."""
REMEMBERED = 20_000
"""Pairs of principal and reason; the one that was seen longest ago is forgotten first."""


@dataclass(slots=True)
class _Tally:
    since_us: int
    kept: int = 0
    uncounted: int = 0


@dataclass(slots=True)
class Samples:
    """Decides which refused input is kept, so that a sender that goes on and on fills nothing."""

    _tallies: dict[tuple[str, str], _Tally] = field(default_factory=dict)

    def admit(self, who: str, reason: str, at_us: int, limit: int = SAMPLES) -> str | None:
        """None: only count it. Else what to say of those that were only counted before, or ""."""
        mine = self._tally(who, reason, at_us)
        everybodys = self._tally("", reason, at_us)
        if mine.kept >= limit or everybodys.kept >= SAMPLES_OF_A_REASON:
            mine.uncounted += 1
            return None
        mine.kept += 1
        everybodys.kept += 1
        missed, mine.uncounted = mine.uncounted, 0
        return f" (and {missed} more before, counted only)" if missed else ""

    def _tally(self, who: str, reason: str, at_us: int) -> _Tally:
        tally = self._tallies.pop((who, reason), None)
        if tally is None:
            tally = _Tally(at_us)
            if len(self._tallies) >= REMEMBERED:
                del self._tallies[next(iter(self._tallies))]
        elif at_us - tally.since_us >= WINDOW_US:
            tally.since_us, tally.kept = at_us, 0
        self._tallies[who, reason] = tally
        return tally


def quarantined(inbound: Inbound, principal: str, reason: str, detail: str) -> Quarantined:
    """A row for people: texts cut to a bearable length, the payload to its first 4 KiB."""
    return Quarantined(
        inbound.arrival_us,
        _clean(inbound.topic, TOPIC_CHARACTERS),
        _clean(principal, TOPIC_CHARACTERS),
        reason,
        _clean(detail, DETAIL_CHARACTERS),
        inbound.payload[:SAMPLE_BYTES],
        len(inbound.payload),
    )


def _clean(text: str, length: int) -> str:
    """What no UTF-8 can hold (a lone surrogate) as an escape; cut with a sign that it was."""
    held = text.encode("utf-8", "backslashreplace").decode()
    return held if len(held) <= length else held[: length - 1] + "…"
