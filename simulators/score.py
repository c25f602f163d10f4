"""Matches planted faults with alerts: what was found, when, and what was made up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from ingest.clock import US_PER_S, format_duration, parse_us
from simulators.faults import Truth

ALSO_FOUND_BY: Mapping[str, tuple[str, ...]] = {"C01": ("flying_wire",), "skab": ("P",)}
"""Beside rules that begin with the fault's code: other beginnings of rule ids, by code. A labelled
pump recording does not say which fault it is: any pump rule is right."""

NO_RULE = frozenset({"N04", "N05", "N07", "N09"})
"""Faults of the wire, which the quarantine and flags answer, not a rule: no alert is expected."""

DEFAULT_TOLERANCE_S = 1_800


@dataclass(frozen=True, slots=True)
class Alert:
    """One episode, as `rules replay` prints it; times as text, `ended_at` None while it lasts."""

    rule: str
    device: str
    started_at: str
    ended_at: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A planted fault and the alerts that found it, first one first."""

    truth: Truth
    alerts: tuple[Alert, ...]

    @property
    def delay_s(self) -> float | None:
        """From the fault's start to the first alert; None if it was not found."""
        if not self.alerts:
            return None
        return (parse_us(self.alerts[0].started_at) - parse_us(self.truth.started_at)) / US_PER_S


@dataclass(frozen=True, slots=True)
class Score:
    """`beside`: alerts of other rules on a device while a fault was planted there (an overload
    heats its terminal, too), or on what is behind it; they count neither way. `false`: all
    other alerts."""

    matches: tuple[Match, ...]
    not_expected: tuple[Truth, ...]
    beside: tuple[Alert, ...]
    false: tuple[Alert, ...]

    @property
    def found(self) -> int:
        return sum(bool(match.alerts) for match in self.matches)

    @property
    def true_alerts(self) -> int:
        return len({alert for match in self.matches for alert in match.alerts})

    @property
    def recall(self) -> float | None:
        """Found faults of those that a rule should find; None if there was none."""
        return self.found / len(self.matches) if self.matches else None

    @property
    def precision(self) -> float | None:
        """True alerts of all that are true or false; None if there was none."""
        total = self.true_alerts + len(self.false)
        return self.true_alerts / total if total else None

    def text(self) -> str:
        """A table for people: by fault, then by rule, then all in all."""
        out = StringIO()
        _write_faults(out, self.matches)
        _write_rules(out, self)
        _write_total(out, self)
        return out.getvalue()


def code_of(fault: str) -> str:
    """The catalogue code that a fault is a form of: C01_unseen → C01."""
    return fault.split("_")[0]


def finds(rule: str, fault: str) -> bool:
    """Whether an alert of `rule` is the right answer to `fault`."""
    code = code_of(fault)
    return code_of(rule) == code or rule.startswith(ALSO_FOUND_BY.get(code, ()))


def score(
    truth: Iterable[Truth],
    alerts: Iterable[Alert],
    tolerance_s: float = DEFAULT_TOLERANCE_S,
    gateways: Mapping[str, str] | None = None,
) -> Score:
    """An alert finds a fault if its rule is right, its device the same, and it starts between the
    fault's start and `tolerance_s` after its end. With `gateways` (device → its gateway), alerts
    of what is behind a device with a fault are beside it, not false."""
    planted = sorted(truth, key=lambda one: (one.started_at, one.device, one.fault))
    told = sorted(alerts, key=lambda one: (one.started_at, one.device, one.rule))
    by_device: dict[str, list[Alert]] = {}
    for alert in told:
        by_device.setdefault(alert.device, []).append(alert)
    behind: dict[str, list[str]] = {}
    for device, gateway in (gateways or {}).items():
        behind.setdefault(gateway, []).append(device)
    matches: list[Match] = []
    used: set[Alert] = set()
    near: set[Alert] = set()
    for fault in planted:
        inside = [a for a in by_device.get(fault.device, ()) if _inside(fault, a, tolerance_s)]
        right = tuple(alert for alert in inside if finds(alert.rule, fault.fault))
        near.update(inside)
        used.update(right)
        for child in behind.get(fault.device, ()):
            near.update(a for a in by_device.get(child, ()) if _inside(fault, a, tolerance_s))
        if code_of(fault.fault) not in NO_RULE:
            matches.append(Match(fault, right))
    return Score(
        tuple(matches),
        tuple(fault for fault in planted if code_of(fault.fault) in NO_RULE),
        tuple(alert for alert in told if alert in near and alert not in used),
        tuple(alert for alert in told if alert not in near),
    )


def read_truth(file: Path) -> list[Truth]:
    """NDJSON. ValueError names file and line."""
    return [Truth(**_fields(row, Truth, where)) for where, row in _lines(file)]


def read_alerts(file: Path) -> list[Alert]:
    """NDJSON as `rules replay` prints it; other keys are ignored. ValueError names the line."""
    return [Alert(**_fields(row, Alert, where)) for where, row in _lines(file)]


def _inside(fault: Truth, alert: Alert, tolerance_s: float) -> bool:
    late_us = parse_us(fault.ended_at) + int(tolerance_s * US_PER_S)
    return parse_us(fault.started_at) <= parse_us(alert.started_at) <= late_us


def _lines(file: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        where = f"{file}:{number}"
        if not line.strip():
            continue
        try:
            yield where, msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise ValueError(f"{where} is no JSON object: {error}") from None


def _fields(row: dict[str, Any], kind: type[Truth] | type[Alert], where: str) -> dict[str, Any]:
    words = tuple(kind.__dataclass_fields__)
    missing = [word for word in words if word not in row]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}; a line has {', '.join(words)}")
    for word in ("started_at", "ended_at"):
        if row[word] is not None:
            try:
                parse_us(row[word])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{where} {word}: {error}") from None
    return {word: row[word] for word in words}


def _write_faults(out: StringIO, matches: Sequence[Match]) -> None:
    out.write(f"{'fault':<16}{'planted':>8}{'found':>7}{'alerts':>8}{'delay':>8}{'worst':>8}\n")
    for word in sorted({match.truth.fault for match in matches}):
        group = [match for match in matches if match.truth.fault == word]
        found = sum(bool(match.alerts) for match in group)
        count = sum(len(match.alerts) for match in group)
        delays = [match.delay_s for match in group if match.delay_s is not None]
        middle, worst = (_span(median(delays)), _span(max(delays))) if delays else ("-", "-")
        out.write(f"{word:<16}{len(group):>8}{found:>7}{count:>8}{middle:>8}{worst:>8}\n")


def _write_rules(out: StringIO, result: Score) -> None:
    true = {alert for match in result.matches for alert in match.alerts}
    sides = [("true", true), ("beside", set(result.beside)), ("false", set(result.false))]
    rules = sorted({alert.rule for _, alerts in sides for alert in alerts})
    width = max([16, *(len(rule) + 2 for rule in rules)])
    out.write(f"\n{'rule':<{width}}{'true':>8}{'beside':>8}{'false':>8}\n")
    for rule in rules:
        counts = [sum(alert.rule == rule for alert in alerts) for _, alerts in sides]
        out.write(f"{rule:<{width}}" + "".join(f"{count:>8}" for count in counts) + "\n")


def _write_total(out: StringIO, result: Score) -> None:
    out.write(
        f"\nfaults found {result.found} of {len(result.matches)} (recall {_part(result.recall)})"
        f" · alerts true {result.true_alerts}, beside {len(result.beside)},"
        f" false {len(result.false)} (precision {_part(result.precision)})\n"
    )
    if result.not_expected:
        words = ", ".join(sorted({fault.fault for fault in result.not_expected}))
        out.write(f"no alert expected for: {words}\n")


def _part(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _span(seconds: float) -> str:
    whole = round(seconds)
    return format_duration(whole if whole < 600 else whole // 60 * 60)
