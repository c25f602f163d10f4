"""Every setting, once; the only reader of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ingest.changes import Severity
from ingest.clock import Clock, parse_us


class Part(BaseModel):
    """A table of the settings file; an unknown key is a mistake, not a wish."""

    model_config = ConfigDict(extra="forbid")


class Mqtt(Part):
    """Where the readings come from."""

    url: str = Field("mqtt://127.0.0.1:1883", description="broker, as mqtt://user@host:port")
    password: SecretStr | None = Field(None, description="of the user in `url`")
    client_id: str = Field("courtyard-watch", description="stable, for the session to be kept")
    protocol: Literal["auto", "5", "3.1.1"] = Field("auto", description="auto tries 5 first")
    keepalive_s: int = Field(60, ge=5, description="seconds between signs of life")
    session_expiry_s: int = Field(86_400, description="how long the broker keeps our session")
    max_queued_messages: int = Field(50_000, ge=100, description="then back-pressure")
    max_queued_bytes: int = Field(64_000_000, ge=1_000_000, description="then back-pressure")


class Http(Part):
    """The API and the pages."""

    bind: str = Field("127.0.0.1", description="loopback only until access control exists")
    port: int = Field(8080, ge=1, le=65_535, description="of the pages and the API")
    hosts: tuple[str, ...] = Field(
        (), description="names beside localhost that a proxy serves us as"
    )
    root_path: str = Field("", description="prefix under which a proxy serves us, as /courtyard")

    @field_validator("bind")
    @classmethod
    def _loopback(cls, value: str) -> str:
        if value not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("binds to 127.0.0.1 or ::1 only, until access control exists")
        return value


class Email(Part):
    """How mail leaves the house."""

    url: str = Field(
        "", description="smtp:// smtps:// or smtp+starttls://user@host:port; needed to mail"
    )
    password: SecretStr | None = Field(None, description="of the user in `url`")
    sender: str = Field("courtyard@localhost", alias="from", description="the sender's address")
    timeout_s: float = Field(20.0, gt=0, description="for one mail")


class Subscriber(Part):
    """Who is told, by which way, from which severity on."""

    name: str = Field(description="unique")
    notifier: str = Field("email", description="a way of telling on the shelf")
    address: str = Field(description="as that way needs it")
    language: Literal["zh", "en"] = Field("zh", description="zh or en")
    min_severity: Severity = Field("warning", description="urgent, serious, warning or info")
    buildings: tuple[str, ...] = Field((), description="only these; empty: all")


class Clockwork(Part):
    """A simulated service clock, for demo and tests only."""

    start: str | None = Field(None, description="ISO 8601; the clock begins here")
    speed: float = Field(1.0, gt=0, description="service seconds per second")
    allow_simulated: bool = Field(False, description="must be true for the two above")


class Keep(Part):
    """How much is kept, and where the limits are."""

    journal_hours: float = Field(24.0, ge=0, description="a drained segment is kept this long")
    segment_seconds: int = Field(3_600, ge=1, description="a segment of the journal is this long")
    segment_bytes: int = Field(256_000_000, ge=1_000_000, description="or this large")
    drain_seconds: float = Field(60.0, gt=0, description="history is at most this much behind")
    quarantine_rows: int = Field(10_000, ge=100, description="newest kept over segments")


class Settings(BaseSettings):
    """The whole file. The environment overrides it: COURTYARD_HTTP__PORT=8081."""

    model_config = SettingsConfigDict(
        extra="forbid", env_prefix="COURTYARD_", env_nested_delimiter="__"
    )

    data_dir: Path = Field(
        Path("data"), description="journal, history, cases; relative to the file"
    )
    site: Path = Field(description="the site's YAML")
    rulebook: Path | None = Field(None, description="the rules' YAML; none: the shipped one")
    store: str = Field("embedded", description="a store on the shelf")
    mqtt: Mqtt = Mqtt()
    http: Http = Http()
    email: Email = Email()
    subscribers: tuple[Subscriber, ...] = ()
    clock: Clockwork = Clockwork()
    keep: Keep = Keep()
    demo: bool = Field(False, description="the community is simulated, and the pages say so")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (env_settings, init_settings)

    def service_clock(self) -> Clock:
        """Raises ValueError if a simulated clock is asked for and not allowed."""
        if self.clock.start is None and self.clock.speed == 1.0:
            return Clock()
        if not self.clock.allow_simulated:
            raise ValueError("[clock] start and speed need allow_simulated = true: demo and tests")
        start_us = None if self.clock.start is None else parse_us(self.clock.start)
        return Clock(start_us, self.clock.speed)


def read_settings(file: Path) -> Settings:
    """The settings of a TOML file, its relative paths resolved against the file's folder."""
    source = TomlConfigSettingsSource(Settings, toml_file=file)
    values: dict[str, Any] = source()
    settings = Settings(**values)
    folder = file.resolve().parent
    changes: dict[str, Any] = {
        name: folder / path
        for name in ("data_dir", "site", "rulebook")
        if (path := getattr(settings, name)) is not None
    }
    return settings.model_copy(update=changes)
