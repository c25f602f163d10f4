"""What goes over HTTP, field by field, with units."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ingest.changes import Audience, Severity

T = TypeVar("T")

TIME = "ISO 8601, UTC, milliseconds"
Time = Annotated[
    str,
    Field(examples=["2026-11-24T13:05:00.000Z"], json_schema_extra={"format": "date-time"}),
]
AlertState = Literal["firing", "unknown", "resolved"]
DeviceState = Literal["urgent", "serious", "warning", "info", "ok", "silent"]


NoticeState = Literal["waiting", "leased", "sent", "dead", "cancelled"]


class Shape(BaseModel):
    """Everything that we send or take."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Problem details, RFC 9457."""

    type: str = Field(description="a URI of the kind of problem; about:blank: the status says it")
    title: str = Field(description="the HTTP status in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what was wrong here, and what would be right")
    errors: list[dict[str, Any]] = Field(
        default_factory=list, description="for a malformed request: each place and what is wrong"
    )


class Text(Shape):
    """What people read, in both languages."""

    zh: str = Field(description="Chinese (zh-CN)")
    en: str = Field(description="English")


class Page(Shape, Generic[T]):
    """Part of a list."""

    items: list[T] = Field(description="in the order that the list promises")
    next: str | None = Field(description="`cursor` of the following page; null: this is the last")


class Building(Shape):
    """A building of a site."""

    id: str = Field(description="its id in the site file")
    name: Text = Field(description="what people call it")
    households: int = Field(description="households in it")
    stairwells: int = Field(description="stairwells (单元) in it")
    at: tuple[float, float] = Field(description="metres east and north of the site's corner")
    state: DeviceState = Field(description="severity of its worst open alert, `silent`, or `ok`")


class Site(Shape):
    """A residential community."""

    id: str = Field(description="its id in the site file")
    name: Text = Field(description="what people call it")
    time_zone: str = Field(description="IANA name of the zone that its people live in")
    households: int = Field(description="households in it")
    device_counts: dict[str, int] = Field(description="devices by type")
    buildings: list[Building] = Field(description="its buildings, in the order of the site file")


class Device(Shape):
    """A device of the registry."""

    id: str = Field(description="its id in the site file")
    site: str = Field(description="id of its site")
    type: str = Field(description="device type, as charging_post or pump")
    name: Text = Field(description="what people call it")
    building: str = Field(description="id of its building; empty: none")
    stairwell: int = Field(description="number of its stairwell; 0: none")
    gateway: str = Field(description="device through which it speaks; empty: none")
    principal: str = Field(description="the broker identity that speaks for it")
    tags: list[str] = Field(description="words that rules may ask for, sorted")
    interval_s: float = Field(description="seconds between readings that it is expected to keep")
    stale_after_s: float = Field(description="seconds without a reading until it is `silent`")
    state: DeviceState = Field(
        description="severity of its worst open alert; else `silent` (stale or never heard), `ok`"
    )
    presence: Literal["online", "offline", "asleep"] | None = Field(
        description="what it, or the broker in its name, said last; null: nothing since our start"
    )
    heard: Time | None = Field(description=f"arrival of its newest value; {TIME}; null: never")


class LatestValue(Shape):
    """The newest fresh reading of a series."""

    channel: str = Field(description="channel of the device, as main or port.3")
    metric: str = Field(description="word of the metric catalogue")
    unit: str = Field(description="UCUM code of `value`")
    value: float | None = Field(description="in `unit`; null: not a number")
    word: str | None = Field(description="for a state: the catalogue's word for `value`")
    time: Time = Field(description=f"when it was so; {TIME}")
    arrival: Time = Field(description=f"when we got it; {TIME}")
    flags: list[str] = Field(description="what is known against it; empty: nothing")
    stale: bool = Field(description="older than the device type's limit: not to be relied on")


class DeviceLatest(Shape):
    """All that is known of a device now."""

    device: str = Field(description="id of the device")
    values: list[LatestValue] = Field(description="by channel and metric")


class Latest(Shape):
    """The newest fresh reading of every series, as equal columns."""

    batch: int = Field(description="journal batch as of which these are")
    device: list[str] = Field(description="id of the device")
    channel: list[str] = Field(description="channel of the device")
    metric: list[str] = Field(description="word of the metric catalogue")
    unit: list[str] = Field(description="UCUM code of the value")
    time: list[Time] = Field(description=f"when it was so; {TIME}")
    value: list[float | None] = Field(description="in `unit`; a state by its number; null: NaN")
    flags: list[int] = Field(description="bits of what is known against it; 0: nothing")


class History(Shape):
    """A series in equal steps of time, as equal columns; steps without a reading are left out."""

    device: str = Field(description="id of the device")
    channel: str = Field(description="channel of the device")
    metric: str = Field(description="word of the metric catalogue")
    unit: str = Field(description="UCUM code of mean, min and max")
    step_s: float = Field(description="length of a step in seconds")
    start: list[Time] = Field(description=f"begin of the step; {TIME}")
    mean: list[float] = Field(description="mean over the step, in `unit`")
    min: list[float] = Field(description="least of the step, in `unit`")
    max: list[float] = Field(description="greatest of the step, in `unit`")
    count: list[int] = Field(description="readings in the step")


class Action(Shape):
    """What a person did about an alert."""

    kind: Literal["acknowledge", "unacknowledge", "comment"] = Field(
        description="what it was: `unacknowledge` takes an acknowledgement back"
    )
    who: str = Field(description="the name that the person gave")
    text: str = Field(description="what the person wrote; may be empty")
    at: Time = Field(description=f"when; {TIME}")


class Alert(Shape):
    """An alert as it stands."""

    episode: str = Field(description="its id: 16 hexadecimal digits")
    rule: str = Field(description="id of the rule")
    site: str = Field(description="id of the site")
    device: str = Field(description="id of the device; `courtyard`: the service itself")
    device_name: Text = Field(description="what people call the device")
    building: str = Field(description="id of the device's building; empty: none")
    stairwell: int = Field(description="number of the device's stairwell; 0: none")
    channel: str = Field(description="channel of the device")
    severity: Severity = Field(description="urgent, serious, warning or info")
    audience: Audience = Field(description="`people`, or `review`: for the duty desk, nobody told")
    state: AlertState = Field(description="`unknown`: still open, but its input went stale")
    since: Time = Field(description=f"when the condition began; {TIME}")
    started: Time = Field(description=f"when it fired; {TIME}")
    changed: Time = Field(description=f"its newest change; {TIME}")
    resolved: Time | None = Field(description=f"when it ended; {TIME}; null: open")
    text: Text = Field(description="what people are told")
    evidence: dict[str, Any] = Field(
        description="what the rule saw; values in the catalogue's units of their metrics"
    )
    acknowledged: Action | None = Field(description="who took it first, and when; null: nobody")


class AlertStep(Shape):
    """One change of an alert."""

    state: Literal["firing", "unknown", "known", "resolved"] = Field(
        description="`unknown`: its input went stale; `known`: the input came back"
    )
    at: Time = Field(description=f"when; {TIME}")
    severity: Severity = Field(description="urgent, serious, warning or info")


class AlertDetail(Alert):
    """An alert with its history."""

    steps: list[AlertStep] = Field(description="its changes that are still known, oldest first")
    actions: list[Action] = Field(description="what people did, oldest first")


Who = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Said = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)]


class Acknowledge(Shape):
    """Somebody takes care of an alert. Doing it again changes nothing."""

    who: Who = Field(description="name of the person, 1 to 64 characters")
    comment: Said = Field("", description="up to 2,000 characters")


class Comment(Shape):
    """Somebody writes something about an alert."""

    who: Who = Field(description="name of the person, 1 to 64 characters")
    comment: Annotated[Said, StringConstraints(min_length=1)] = Field(
        description="1 to 2,000 characters"
    )


class Quarantined(Shape):
    """A message, or a part of one, that was not let in."""

    number: int = Field(description="counts up; the newest has the greatest")
    arrival: Time = Field(description=f"when we got it; {TIME}")
    topic: str = Field(description="MQTT topic")
    principal: str = Field(description="the broker identity that sent it; empty: not known")
    reason: str = Field(description="one word, for counting")
    detail: str = Field(description="what was wrong, for a technician")
    payload: str = Field(description="its first 4 KiB: text, or base64")
    payload_encoding: Literal["text", "base64"] = Field(description="how `payload` is written")
    size_bytes: int = Field(description="whole size of the message in bytes")


class Notice(Shape):
    """A message to one recipient, and what became of it."""

    key: str = Field(description="the same for every try")
    episode: str = Field(description="id of the alert")
    recipient: str = Field(description="who gets it")
    notifier: str = Field(description="the way by which it goes, as email or console")
    language: str = Field(description="zh or en")
    severity: str = Field(description="urgent, serious, warning or info")
    subject: str = Field(description="its first line")
    text: str = Field(description="the rest of it")
    kind: Literal["firing", "resolved", "missed", "digest"] = Field(
        description="`missed`: the alert was over before it could be told; `digest`: many in one"
    )
    state: NoticeState = Field(
        description="`leased`: being sent now; `dead`: given up; `cancelled`: no longer needed"
    )
    attempts: int = Field(description="how often it was tried")
    due: Time = Field(description=f"not before then; {TIME}")
    created: Time = Field(description=f"when it was written; {TIME}")
    sent: Time | None = Field(description=f"when the other side took it; {TIME}; null: not yet")
    error: str = Field(description="what the other side said last; empty: nothing bad")
