"""A community and its API for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from tests.api.community import Community, community


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Community]:
    with community(tmp_path) as made:
        yield made


@pytest.fixture
def client(town: Community) -> Iterator[TestClient]:
    """Follows what the town had when the test began to ask, and goes on following."""
    with TestClient(create_app(town.parts()), base_url="http://localhost") as client:
        yield client
