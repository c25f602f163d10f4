"""Templates of what people read about an alert: text with `{words}`."""

from __future__ import annotations

import re
from collections.abc import Mapping

PLACE_WORDS = ("site", "building", "stairwell", "device", "channel", "rule", "since")
"""What every template may name, beside the rule's metrics and `param.NAME`."""

DEFAULT_ZH = "{building}{device}：{rule}"
DEFAULT_EN = "{device} {building}: {rule}"

_GAP = re.compile(r" +( |[:,，：（])")
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\}")


def template_words(template: str) -> tuple[str, ...]:
    """The words that a template names, in order. ValueError: a brace that is no `{word}`."""
    rest = _FIELD.sub("", template)
    if "{" in rest or "}" in rest:
        raise ValueError("a { or } that is not a {word}")
    return tuple(dict.fromkeys(_FIELD.findall(template)))


def fill(template: str, words: Mapping[str, str]) -> str:
    """The template with its words in place; a word that is not known becomes `?`, and an empty one
    leaves no gap."""
    filled = _FIELD.sub(lambda match: words.get(match.group(1), "?"), template)
    return _GAP.sub(r"\1", filled).strip()
