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
    # motor: a common 5.5 kW supply pump, 11 A; its pump moves 20 m3/h at 54 m
    # vibration: ISO 10816-7 category II, zone limits B/C and C/D; copies disagree, verify
    # usual vibration: each machine has its own; until it is noted, twice 25 g is what no sensor of
    # a pump reads
    # levels: GB 50015 asks for a sump of 5 min of the largest pump; the site's own marks count
    parameters={
        "set_pressure": Parameter(340, "kPa", "设定压力", "Set pressure"),
        "rated_current": Parameter(11, "A", "额定电流", "Rated current"),
        "rated_power": Parameter(5_500, "W", "额定功率", "Rated power"),
        "rated_flow": Parameter(20, "m3/h", "额定流量（调试实测）", "Flow at commissioning"),
        "low_level": Parameter(0.6, "m", "水箱低水位", "Low level of a tank"),
        "high_level": Parameter(2.2, "m", "水箱高水位", "High level of a tank"),
        "second_start_level": Parameter(1.2, "m", "第二台泵启动水位", "Second pump's start level"),
        "flood_level": Parameter(1.6, "m", "淹没水位", "Flood level"),
        "vibration_limit": Parameter(5.1, "mm/s", "振动限值", "Vibration limit"),
        "usual_acceleration": Parameter(25, "[g]", "平时振动加速度", "Usual vibration"),
        "vibration_danger": Parameter(8.5, "mm/s", "振动危险值", "Dangerous vibration"),
    },
)
