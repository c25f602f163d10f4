"""What the engine decided, in the words in which the journal keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ingest.inputs import Json

Severity = Literal["urgent", "serious", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("urgent", "serious", "warning", "info")

ChangeState = Literal["firing", "resolved", "unknown", "known"]
"""`unknown`: the input of a firing alert went stale, and it neither resolves nor repeats;
`known`: it came back while the alert went on."""

Audience = Literal["people", "review"]
"""`review`: a record for the duty desk's queue, nobody is told."""


@dataclass(frozen=True, slots=True)
class Change:
    """One step in the life of an alert. All changes of an alert carry the same `episode`."""

    episode: str
    rule: str
    site: str
    device: str
    channel: str
    severity: Severity
    audience: Audience
    state: ChangeState
    at_us: int
    started_us: int
    since_us: int
    text_zh: str
    text_en: str
    evidence: Mapping[str, Json] = field(default_factory=dict)
