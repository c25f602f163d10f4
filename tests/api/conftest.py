"""A community and its API for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from response.migrate import open_database
from tests.api.community import Community, community


@pytest.fixture(scope="session")
def no_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty case database: making one takes longer than most tests."""
    file = tmp_path_factory.mktemp("cases") / "cases.db"
    open_database(f"sqlite:///{file}").dispose()  # the last to close takes the log in
    return file


@pytest.fixture
def town(tmp_path: Path, no_cases: Path) -> Iterator[Community]:
    with community(tmp_path, cases_from=no_cases) as made:
        yield made


@pytest.fixture
def client(town: Community) -> Iterator[TestClient]:
    """Follows what the town had when the test began to ask, and goes on following."""
    with TestClient(create_app(town.parts()), base_url="http://localhost") as client:
        yield client
