"""What the page on the rulebook repeats from the code, as rows of its tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ingest.clock import format_duration
from ingest.shelf import shelf_words
from rules.form import ExpressionForm, RuleForm, kind_class, kind_keys, rule_form
from rules.rulebook import shipped_rulebook
from rules.units import UNITS

Row = tuple[str, ...]


def field_rows() -> list[Row]:
    """The fields of every rule: key, default, meaning in Chinese and English."""
    return [_field_row(ExpressionForm, key) for key in _keys(ExpressionForm)]


def kind_rows() -> list[Row]:
    """The kinds and what each adds: kind, key, default, meaning."""
    rows: list[Row] = []
    for word in shelf_words("rules.kinds"):
        form = rule_form(word)
        rows += [(f"`{word}`", *_field_row(form, key)) for key in kind_keys(word)]
    return rows


def kind_summaries() -> list[Row]:
    """Each kind and the first paragraph of its documentation."""
    return [
        (f"`{word}`", " ".join((kind_class(word).__doc__ or "").split("\n\n")[0].split()))
        for word in shelf_words("rules.kinds")
    ]


def unit_rows() -> list[Row]:
    """The units that a condition may write after a number, those of one dimension in a row."""
    groups: dict[Any, list[str]] = {}
    for code, unit in UNITS.items():
        groups.setdefault(unit.dimension, []).append(f"`{code}`")
    return [(" ".join(codes),) for codes in groups.values()]


def shipped_rows() -> list[Row]:
    """The shipped rules: id, device types, what they watch, severity, standard."""
    return [
        (
            f"`{rule.id}`",
            _listed((*rule.on.types, *(f"tag {tag}" for tag in rule.on.tags))),
            _watched(rule.kind_word, rule.kind),
            format_duration(rule.for_s) if rule.for_s else "–",
            rule.severity,
            f"{rule.standard['id']} ({rule.standard['edition']})" if rule.standard else "–",
        )
        for rule in shipped_rulebook().rules
    ]


def _watched(word: str, kind: Any) -> str:
    if word == "expression":
        return f"`{kind.when}`"
    told = [f"after {format_duration(kind.after_s)}"] if hasattr(kind, "after_s") else []
    return ", ".join([f"{word} {_listed(kind.metrics)}".strip(), *told])


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _keys(form: type[RuleForm]) -> list[str]:
    return [info.alias or name for name, info in form.model_fields.items()]


def _field_row(form: type[RuleForm], key: str) -> Row:
    info = next(i for n, i in form.model_fields.items() if (i.alias or n) == key)
    default = "required" if info.is_required() else _shown(key, info.default, info.alias)
    return (f"`{key}`", default, info.description or "")


def _shown(key: str, default: Any, alias: str | None) -> str:
    if key in ("on", "message") or default is None:
        return "–"
    if alias is not None:
        return f"`{format_duration(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
