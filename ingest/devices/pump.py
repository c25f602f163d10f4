"""A water-supply, sump or fire pump."""

from ingest.device import DeviceType, Parameter, measures

DEVICE = DeviceType(
    name="pump",
    zh="水泵",
    en="Pump",
    channels={
        "*": measures(
            ("power.active", 0, 200_000),
            ("current", 0, 400),
            ("voltage", 0, 500),
            "frequency",
            "speed",
            ("pressure", -101.4, 2_500),
            "pressure.differential",
            ("flow", -50, 1_000),
            ("level", -1, 20),
            ("temperature", -40, 200),
            ("vibration.velocity.rms", 0, 100),
            ("vibration.acceleration.rms", 0, 50),
            "runtime",
            "starts",
            "state.run",
            "state.selector",
        )
    },
    interval_s=10,
    stale_after_s=90,
    parameters={
        "set_pressure": Parameter(340, "kPa", "设定压力", "Set pressure"),
        "rated_current": Parameter(11, "A", "额定电流", "Rated current"),
        "flood_level": Parameter(1.6, "m", "淹没水位", "Flood level"),
        "vibration_limit": Parameter(5.1, "mm/s", "振动限值", "Vibration limit"),
    },
)
