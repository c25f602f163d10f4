"""A sensor of surroundings: temperature and humidity of a shed, a pump room, a street."""

from ingest.device import DeviceType, measures

DEVICE = DeviceType(
    name="environment",
    zh="环境传感器",
    en="Environment sensor",
    channels={"*": measures(("temperature", -60, 125), "humidity", "level", "battery")},
    interval_s=300,
    stale_after_s=1_800,
)
