"""The tables of the documentation that repeat the code, made from it: `python -m api.reference`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from api.settings import Settings
from ingest.clock import format_duration
from ingest.metrics import CATALOGUE
from ingest.readings import Flag
from ingest.registry import device_type
from ingest.shelf import shelf_words
from response.outbox import Telling
from rules import manual

DOCS = Path(__file__).parents[1] / "docs"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; a `|` inside a cell is escaped."""
    lines = [head, ["-"] * len(head), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def settings_table() -> str:
    return markdown_table(
        ("setting", "default", "meaning"), [*_settings(Settings, ""), *_subscriber()]
    )


def _settings(model: type[BaseModel], prefix: str) -> list[tuple[str, str, str]]:
    rows = []
    for name, info in model.model_fields.items():
        word = f"{prefix}{info.alias or name}"
        default = info.default
        if isinstance(default, BaseModel):
            rows += _settings(type(default), f"{word}.")
        elif name != "subscribers":
            rows.append((f"`{word}`", _default(info), info.description or ""))
    return rows


def _subscriber() -> list[tuple[str, str, str]]:
    item = Settings.model_fields["subscribers"].annotation
    model = item.__args__[0] if item is not None else BaseModel
    return _settings(model, "[[subscribers]].")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    return "–" if info.default in (None, "", ()) else f"`{info.default}`"


def metrics_table() -> str:
    return markdown_table(
        ("metric", "unit", "form", "plausible", "zh", "en"),
        [
            (
                f"`{metric.word}`",
                f"`{metric.unit}`",
                metric.form,
                ", ".join(f"`{word}`" for word in metric.words)
                or f"{metric.low:g} to {metric.high:g}",
                metric.zh,
                metric.en,
            )
            for metric in CATALOGUE.values()
        ],
    )


def devices_table() -> str:
    rows = []
    for word in shelf_words("ingest.devices"):
        declared = device_type(word)
        for channel, quantities in declared.channels.items():
            measured = ", ".join(f"`{quantity.metric}`" for quantity in quantities)
            rows.append((f"`{word}`", f"{declared.zh} / {declared.en}", f"`{channel}`", measured))
    return markdown_table(("type", "name", "channel", "measures"), rows)


def pace_table() -> str:
    declared = [device_type(word) for word in shelf_words("ingest.devices")]
    return markdown_table(
        ("type", "expected every", "stale after", "parameters (`param.…`) and defaults"),
        [
            (
                f"`{entry.name}`",
                format_duration(int(entry.interval_s)),
                format_duration(int(entry.stale_after_s)),
                ", ".join(f"`{w}` {p.value:g} {p.unit}" for w, p in entry.parameters.items())
                or "–",
            )
            for entry in declared
        ],
    )


def flags_table() -> str:
    return markdown_table(
        ("bit", "flag"), [(flag.value, f"`{flag.name.lower()}`") for flag in Flag if flag.name]
    )


_RULE_HEAD = ("id", "about", "holds when", "for", "severity", "standard (edition)")


def telling_table() -> str:
    meaning = {
        "late_s": "an alert that is older when it is learned of is told as late",
        "settle_s": "and only after so long, so that its end is seen first",
        "hold_s": "a backlog that is still being read holds late notices up for so long at most",
        "per_hour": "notices below urgent that one recipient gets in an hour; the rest is a digest",
        "digest_s": "a digest leaves so long after its first line",
    }
    rows = [
        (f"`{field.name}`", f"{field.default:g}", meaning[field.name]) for field in fields(Telling)
    ]
    return markdown_table(("limit", "value", "meaning"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "rule_fields": lambda: markdown_table(("key", "default", "meaning"), manual.field_rows()),
    "kinds": lambda: markdown_table(("kind", "what it does"), manual.kind_summaries()),
    "kind_fields": lambda: markdown_table(
        ("kind", "key", "default", "meaning"), manual.kind_rows()
    ),
    "units": lambda: markdown_table(("units of one dimension",), manual.unit_rows()),
    "shipped_rules": lambda: markdown_table(_RULE_HEAD, manual.shipped_rows()),
    "settings": settings_table,
    "metrics": metrics_table,
    "devices": devices_table,
    "pace": pace_table,
    "flags": flags_table,
    "telling": telling_table,
}

_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def refreshed(text: str) -> str:
    """A page with every marked table made anew. KeyError: a marker that no table answers to."""
    return _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", text)


def main() -> None:
    """Rewrites the pages whose tables have changed, and names them."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        made = refreshed(text)
        if made != text:
            page.write_text(made, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(DOCS.parent)}\n")


if __name__ == "__main__":
    main()
