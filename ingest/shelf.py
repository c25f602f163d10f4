"""Finds what lies on a shelf: a file of ours, or an entry point of an installed package."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points


@cache
def shelf_words(package: str) -> tuple[str, ...]:
    """The words that a configuration may use for this shelf, sorted."""
    folder = importlib.import_module(package)
    ours = [module.name for module in pkgutil.iter_modules(folder.__path__)]
    theirs = [entry.name for entry in entry_points(group=_group(package))]
    return tuple(sorted({*ours, *theirs}))


@cache
def from_shelf(package: str, word: str, value: str) -> object:
    """The `value` (such as DIALECT) of `package/word.py`; LookupError names the nearest word."""
    if word not in shelf_words(package):
        raise LookupError(f"no {package} called {word!r}{nearest(word, shelf_words(package))}")
    for entry in entry_points(group=_group(package)):
        if entry.name == word:
            return entry.load()
    return getattr(importlib.import_module(f"{package}.{word}"), value)


def nearest(word: str, words: tuple[str, ...]) -> str:
    """`; did you mean 'x'? there are: …`, for the end of an error message."""
    close = difflib.get_close_matches(word, words, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} there are: {', '.join(words)}"


def _group(package: str) -> str:
    """The entry-point group of a shelf; a simulator is a model of a device to us only."""
    word = package.rpartition(".")[2]
    return "courtyard.simulators" if word == "models" else f"courtyard.{word}"
