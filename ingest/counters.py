"""What ingest counts: whatever is refused, dropped, doubled or late shows here."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field

from ingest.inputs import Json


@dataclass(slots=True)
class ListenerCounters:
    """Since the start of the process. `broker_dropped`: messages that the broker says it dropped
    since we first heard it; for whom is not said."""

    received: int = 0
    received_qos0: int = 0
    acknowledged: int = 0
    stale_acknowledgements: int = 0
    connections: int = 0
    lost_connections: int = 0
    lost_sessions: int = 0
    pauses: int = 0
    broker_dropped: int = 0


@dataclass(slots=True)
class PipelineCounters:
    """Since the start of the process. `quarantined` by reason, whether a sample was kept or not."""

    messages: int = 0
    redelivered: int = 0
    resent: int = 0
    readings: int = 0
    events: int = 0
    presences: int = 0
    controls: int = 0
    changes: int = 0
    batches: int = 0
    descriptors: int = 0
    committed_us: int = 0  # the wall clock after the newest commit that brought inputs
    quarantined: Counter[str] = field(default_factory=Counter)


def plain(counters: ListenerCounters | PipelineCounters) -> dict[str, Json]:
    """For a status file."""
    return {
        name: dict(value) if isinstance(value, Counter) else value
        for name, value in asdict(counters).items()
    }
