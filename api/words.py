"""The texts of the pages, both languages side by side in words.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from ruamel.yaml import YAML

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

PAGES = Path(__file__).parent / "pages"


@dataclass(frozen=True, slots=True)
class Words:
    """`texts[key][language]`."""

    texts: Mapping[str, Mapping[Language, str]]

    def say(self, language: Language, key: str, **values: object) -> str:
        """The text with its {names} filled in; KeyError names a text that is missing."""
        return self.texts[key][language].format(**values)


def read_words(file: Path = PAGES / "words.yaml") -> Words:
    """Raises ValueError naming the texts that lack a language."""
    tree = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    lacking = [
        key
        for key, texts in tree.items()
        if not isinstance(texts, dict)
        or set(texts) != set(LANGUAGES)
        or not all(isinstance(text, str) and text for text in texts.values())
    ]
    if lacking:
        raise ValueError(f"{file.name}: not exactly zh and en in: {', '.join(map(str, lacking))}")
    return Words(cast(Mapping[str, Mapping[Language, str]], tree))
