"""A meter on a stairwell or public circuit."""

from ingest.device import DeviceType, Parameter, measures

_CIRCUIT = measures(
    ("power.active", -50_000, 50_000),
    "power.reactive",
    "power.apparent",
    "power.distortion",
    ("voltage", 0, 300),
    ("current", 0, 400),
    "current.residual",
    "current.harmonic3",
    "current.thd",
    "power_factor",
    "frequency",
    "energy.active.import",
    "temperature",
)

DEVICE = DeviceType(
    name="circuit_meter",
    zh="回路电表",
    en="Circuit meter",
    channels={"main": _CIRCUIT, "circuit.*": _CIRCUIT, "phase.*": _CIRCUIT},
    interval_s=60,
    stale_after_s=900,  # metering plugs are polled every 5 to 10 min
    parameters={
        "rated_current": Parameter(16, "A", "额定电流", "Rated current"),
        "residual_limit": Parameter(300, "mA", "剩余电流限值", "Residual current limit"),
        "terminal_limit": Parameter(70, "Cel", "端子温度限值", "Terminal temperature limit"),
    },
)
