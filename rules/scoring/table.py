"""A table of figures, and how it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Figures with what they were measured on. `notes` says what a reader must know."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def format_table(table: Table) -> str:
    """Text in columns: words left, numbers right, a dash where there is none."""
    cells = [list(table.columns), *([_text(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    numeric = [_is_numeric(table.rows, column) for column in range(len(table.columns))]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, "", lines[0], rule, *lines[1:], "", *table.notes]).rstrip()


def _is_numeric(rows: Sequence[tuple[Cell, ...]], column: int) -> bool:
    return all(not isinstance(row[column], str) for row in rows)


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.3f}" if abs(cell) < 1 else f"{cell:.1f}"
    return str(cell)
