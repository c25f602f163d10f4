"""The OpenAPI document, and what a fuzzer makes of it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from tests.api.community import Community, Value, served

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of libraries that schemathesis brings
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
DOCUMENT = "/api/v1/openapi.json"


def test_every_answer_is_as_the_document_says(town: Community) -> None:
    town.hear(
        Value("pump-1", "main", "pressure", 340.0),
        Value("post-1", "port.1", "state.relay", 1.0),
        changes=[town.low_pressure()],
    )
    with served(town.parts()) as base:
        document = schemathesis.openapi.from_url(base + DOCUMENT)
        # a stream that never ends is no answer that a fuzzer could wait for
        found = list(document.exclude(path="/api/v1/live").get_all_operations())
        assert len(found) >= 10
        for operation in found:
            _fuzz(operation.ok())  # type: ignore[union-attr]  # an Err raises here, as it should


def _fuzz(operation: Any) -> None:
    @given(operation.as_strategy())
    @settings(
        max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    def answered(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    answered()


def test_every_field_and_every_parameter_is_described(client: TestClient) -> None:
    document = client.get(DOCUMENT).json()
    for name, shape in document["components"]["schemas"].items():
        for field, about in shape.get("properties", {}).items():
            assert about.get("description"), f"{name}.{field}"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (method, path)
            for parameter in operation.get("parameters", []):
                assert parameter.get("description"), (path, parameter["name"])


def test_the_document_has_the_paths_that_were_agreed(client: TestClient) -> None:
    agreed = """sites devices devices/{id}/latest devices/{id}/history alerts
        alerts/{episode}/ack quarantine live"""
    paths = client.get(DOCUMENT).json()["paths"]
    assert {f"/api/v1/{path}" for path in agreed.split()} <= set(paths)
    assert not any(re.search("fragment|static", path) for path in paths)


def test_the_package_has_the_files_of_the_pages() -> None:
    pages = Path(__file__).parents[2] / "api" / "pages"
    assert {"page.js", "style.css", "favicon.svg"} <= {f.name for f in (pages / "static").iterdir()}
