"""The hour, the daylight and the air of a northern plain at 39 degrees north."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import cos, pi
from zoneinfo import ZoneInfo

from ingest.clock import US_PER_S


@dataclass(frozen=True, slots=True)
class Moment:
    """Local time: `hour` 0 to 24 with its fraction, `weekday` 0 = Monday, `day` of the year,
    `date` counts days without a break."""

    hour: float
    weekday: int
    day: int
    date: int


def moment(now_us: int, zone: ZoneInfo) -> Moment:
    local = datetime.fromtimestamp(now_us / US_PER_S, zone)
    hour = local.hour + local.minute / 60 + local.second / 3_600
    return Moment(hour, local.weekday(), local.timetuple().tm_yday, local.toordinal())


def _season(day: int) -> float:
    """1 at midsummer, -1 at midwinter."""
    return cos(2 * pi * (day - 172) / 365)


def is_dark(now: Moment) -> bool:
    """Sunset is at 16:50 in December and 19:40 in June, sunrise at 7:30 and 4:45."""
    sunrise = 6.12 - 1.37 * _season(now.day)
    sunset = 18.25 + 1.42 * _season(now.day)
    return not sunrise <= now.hour < sunset


def air_c(now: Moment) -> float:
    """Cel. Monthly means from -2 in January to 28 in July, +-4 over the day, warmest at 15:00."""
    season = cos(2 * pi * (now.day - 200) / 365)  # the air lags the sun by four weeks
    return 13.0 + 15.0 * season + 4.0 * cos(2 * pi * (now.hour - 15) / 24)


def mains_v(now: Moment) -> float:
    """V. 226 V with a swing of 4 V: lowest in the evening, when everybody is at home."""
    return 226.0 - 4.0 * cos(2 * pi * (now.hour - 20) / 24)
