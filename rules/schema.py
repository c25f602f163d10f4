"""The rulebook as a JSON Schema, for editors: completion, hover text, red lines."""

from __future__ import annotations

from typing import Any

from ingest.clock import format_duration
from ingest.metrics import CATALOGUE
from ingest.shelf import shelf_words
from rules.form import DURATION_PATTERN, rule_form

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def rulebook_schema() -> dict[str, Any]:
    """Draft 2020-12, with the fields of each kind of rule, described in Chinese and English."""
    words = shelf_words("rules.kinds")
    definitions: dict[str, Any] = {}
    for word in words:
        definitions |= _definitions(word)
    return {
        "$schema": DIALECT,
        "title": "Courtyard rulebook",
        "description": "规则书 / The rules that turn readings into alerts",
        "type": "object",
        "required": ["rules"],
        "additionalProperties": False,
        "properties": {
            "rules": {
                "description": "规则 / The rules",
                "type": "array",
                "minItems": 1,
                "items": _either_kind(words),
            }
        },
        "$defs": definitions,
    }


def _either_kind(words: tuple[str, ...]) -> dict[str, Any]:
    """By its `kind`, so that an editor complains about the fields of this kind, not of all."""
    return {
        "type": "object",
        "properties": {"kind": {"enum": list(words)}},
        "allOf": [
            {"if": _is_kind(word), "then": {"$ref": f"#/$defs/{_name(word)}"}} for word in words
        ],
    }


def _is_kind(word: str) -> dict[str, Any]:
    named: dict[str, Any] = {"properties": {"kind": {"const": word}}}
    return named if word == "expression" else named | {"required": ["kind"]}


def _definitions(word: str) -> dict[str, Any]:
    schema = rule_form(word).model_json_schema(
        by_alias=True, ref_template="#/$defs/{model}", mode="validation"
    )
    parts: dict[str, Any] = schema.pop("$defs", {})
    schema["title"] = f"kind: {word}"
    schema["properties"]["kind"]["description"] = " ".join(schema["description"].split())
    for part in (schema, *parts.values()):
        for key, field in part["properties"].items():
            _tidy(key, field)
    parts["OnForm"]["properties"]["type"]["examples"] = list(shelf_words("ingest.devices"))
    return parts | {_name(word): schema}


def _tidy(key: str, field: dict[str, Any]) -> None:
    """Says things as a rulebook does. pydantic's titles repeat the key, and an editor would show
    them before the description; defaults are as the code keeps them."""
    field.pop("title", None)
    if field.get("pattern") == DURATION_PATTERN and "default" in field:
        field["default"] = format_duration(field["default"])
    if key == "on" or field.get("default", "") is None:
        field.pop("default", None)
    if key == "metric":
        field["enum"] = list(CATALOGUE)


def _name(word: str) -> str:
    return f"{word}_rule"
