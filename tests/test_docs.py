"""What the documentation says is so: tables are fresh, named paths exist, code maps match."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.reference import TABLES, refreshed

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("ingest", "rules", "response", "api", "dashboards", "simulators")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_fresh(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == refreshed(text), "run: .venv/bin/python -m api.reference"


def test_every_table_stands_somewhere() -> None:
    marked = {m for page in PAGES for m in re.findall(r"<!-- table: (\w+) -->", page.read_text())}
    assert marked == set(TABLES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_named_in_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)}|tests|docs|deploy)/[\w./-]*)`", text)
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    missing = [path for path in named if not (ROOT / path).exists()]
    missing += [path for path in linked if not (page.parent / path).exists()]
    assert missing == []


def test_the_readme_maps_every_folder() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [folder for folder in FOLDERS if f"`{folder}/`" not in readme] == []
    for command in ("make demo", "make test"):
        assert command in readme
