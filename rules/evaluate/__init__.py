"""Published scoring protocols over folders of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from ingest.shelf import from_shelf
from rules.scoring.table import Table


class Evaluate(Protocol):
    """A file on this shelf ends in a value `EVALUATE` that is one of these."""

    def __call__(
        self, data: Path, *, seed: int, predictions: Path | None, alerts: Path | None
    ) -> Table:
        """Scores the rule's alerts, or given predictions or alerts. ValueError says what cannot
        be scored, OSError which recording is missing."""
        ...


def evaluate_set(
    name: str,
    data: Path,
    *,
    predictions: Path | None = None,
    alerts: Path | None = None,
    seed: int = 1,
) -> Table:
    """One set by its name; LookupError names the nearest valid word."""
    evaluate = cast(Evaluate, from_shelf("rules.evaluate", name, "EVALUATE"))
    return evaluate(data, seed=seed, predictions=predictions, alerts=alerts)
