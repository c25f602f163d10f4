"""What a notice says, in Chinese or English, from an alert's change and the site's registry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

from ingest.changes import Change, Severity
from ingest.clock import US_PER_S
from ingest.registry import Building, Device, Registry, Text

Language = Literal["zh", "en"]

SEVERITY_WORDS: dict[Severity, Text] = {
    "urgent": Text("紧急", "Urgent"),
    "serious": Text("严重", "Serious"),
    "warning": Text("警告", "Warning"),
    "info": Text("提示", "Info"),
}
SUBJECT_LENGTH = 120  # what phones show of a subject is shorter still
DIGEST_LINES = 200

_RESOLVED = Text("已恢复", "Resolved")
_DIGEST = Text("汇总", "Digest")
_LABELS: dict[str, Text] = {
    "severity": Text("级别", "Severity"),
    "place": Text("地点", "Place"),
    "device": Text("设备", "Device"),
    "since": Text("起始", "Began"),
    "started": Text("告警", "Alert raised"),
    "resolved": Text("恢复", "Resolved"),
    "rule": Text("规则", "Rule"),
    "episode": Text("编号", "Number"),
}


def subject(change: Change, registry: Registry, language: Language) -> str:
    """One line such as `[Urgent] Building 7: Supply pressure low`."""
    words = SEVERITY_WORDS[change.severity] if change.state != "resolved" else _RESOLVED
    place = _building_name(change, registry, language) or _in(registry.name, language)
    what = _told(change, language)
    if language == "zh":
        return _line(f"【{words.zh}】{place}：{what}")
    return _line(f"[{words.en}] {place}: {what}")


def text(change: Change, registry: Registry, language: Language, delay_s: float = 0.0) -> str:
    """The body. `delay_s` > 0 says first by how much the notice comes late."""
    zone = registry.time_zone
    rows = {
        "severity": _in(SEVERITY_WORDS[change.severity], language),
        "place": _place(change, registry, language),
        "device": _device_name(change, registry, language),
        "since": _moment(change.since_us, zone),
        "started": _moment(change.started_us, zone),
    }
    if change.state == "resolved":
        lasted = _span((change.at_us - change.started_us) / US_PER_S, language)
        rows["resolved"] = f"{_moment(change.at_us, zone)} ({lasted})"
    rows |= {"rule": change.rule, "episode": change.episode}
    colon = "：" if language == "zh" else ": "
    lines = [f"{_in(_LABELS[word], language)}{colon}{value}" for word, value in rows.items()]
    late = [_late(delay_s, language), ""] if delay_s > 0 else []
    return "\n".join([*late, _told(change, language), "", *lines]) + "\n"


def missed(change: Change, registry: Registry, language: Language) -> str:
    """The line of a digest for an alert that came and went before anybody could be told."""
    over = _span((change.at_us - change.started_us) / US_PER_S, language)
    whole = subject(change, registry, language)
    lasted = f"，持续 {over}" if language == "zh" else f", lasted {over}"
    return whole + lasted


def digest(
    lines: Sequence[tuple[int, str]], registry_zone: str, language: Language
) -> tuple[str, str]:
    """Subject and body of many notices in one; each line is a time in µs and a subject."""
    count = len(lines)
    rows = [f"{_moment(at_us, registry_zone)}  {line}" for at_us, line in lines[:DIGEST_LINES]]
    beyond = count - len(rows)
    if language == "zh":
        more = [f"……另有 {beyond} 条"] if beyond else []
        head = f"【{_DIGEST.zh}】{count} 条告警通知"
        intro = "下列通知合并为一封发出："
    else:
        more = [f"… and {beyond} more"] if beyond else []
        head = f"[{_DIGEST.en}] {count} notice{'s' if count != 1 else ''}"
        intro = "These notices are sent as one:"
    return head, "\n".join([intro, "", *rows, *more]) + "\n"


def _told(change: Change, language: Language) -> str:
    said = change.text_zh if language == "zh" else change.text_en
    return " ".join(said.split()) or change.rule


def _late(delay_s: float, language: Language) -> str:
    span = _span(delay_s, language)
    if language == "zh":
        return f"（本通知迟到 {span}：此前通知服务未运行）"
    return f"(This notice is {span} late: nobody could be told before.)"


def _device(change: Change, registry: Registry) -> Device | None:
    return registry.devices.get(change.device)


def _building(change: Change, registry: Registry) -> Building | None:
    device = _device(change, registry)
    return registry.buildings.get(device.building) if device else None


def _building_name(change: Change, registry: Registry, language: Language) -> str:
    building = _building(change, registry)
    return _in(building.name, language) if building else ""


def _place(change: Change, registry: Registry, language: Language) -> str:
    parts = [_in(registry.name, language), _building_name(change, registry, language)]
    device = _device(change, registry)
    if device and device.stairwell:
        words = Text(f"{device.stairwell}单元", f"stairwell {device.stairwell}")
        parts.append(_in(words, language))
    return (" " if language == "zh" else ", ").join(part for part in parts if part)


def _device_name(change: Change, registry: Registry, language: Language) -> str:
    device = _device(change, registry)
    name = _in(device.name, language) if device else change.device
    ids = change.device if change.channel == "main" else f"{change.device}/{change.channel}"
    return name if name == ids else f"{name} ({ids})"


def _in(words: Text, language: Language) -> str:
    return words.zh if language == "zh" else words.en


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _moment(time_us: int, zone: str) -> str:
    moment = datetime.fromtimestamp(time_us // US_PER_S, UTC).astimezone(_zone(zone))
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _span(seconds: float, language: Language) -> str:
    """Rounded to what a person says: 40 s, 12 min, 3 h 5 min, 2 d 4 h."""
    whole = max(0, round(seconds))
    units = ((86_400, Text("天", "d")), (3_600, Text("小时", "h")), (60, Text("分钟", "min")))
    parts: list[str] = []
    for size, words in units:
        if whole >= size or parts:
            parts.append(f"{whole // size} {_in(words, language)}")
            whole %= size
    if not parts:
        parts = [f"{whole} {'秒' if language == 'zh' else 's'}"]
    return " ".join(part for part in parts[:2] if not part.startswith("0 ")) or parts[0]


def _line(text: str) -> str:
    """One line without control characters: a subject is a header of the mail."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= SUBJECT_LENGTH else f"{clean[: SUBJECT_LENGTH - 1]}…"
