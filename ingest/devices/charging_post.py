"""An e-bike charging post with its sockets."""

from ingest.device import DeviceType, Parameter, measures

DEVICE = DeviceType(
    name="charging_post",
    zh="充电桩",
    en="Charging post",
    channels={
        "main": measures(
            ("power.active", 0, 20_000),
            "energy.active.import",
            ("voltage", 0, 300),
            ("temperature", -40, 125),
            "current.residual",
            "signal.rssi",
            "count.sessions",
            "state.door",
        ),
        "port.*": measures(
            ("power.active", 0, 1_500),
            ("current", 0, 10),
            "energy.active.import",
            ("temperature", -40, 125),
            "state.relay",
            "state.socket",
        ),
    },
    interval_s=60,
    stale_after_s=900,  # AP3000 posts settle every 3 to 5 min
    # powers: firmware limits seen at vendors; residual current: the RCD of a socket trips at 30 mA
    parameters={
        "max_socket_power": Parameter(1_000, "W", "单插座最大功率", "Most power of one socket"),
        "max_post_power": Parameter(8_700, "W", "整桩最大功率", "Most power of the whole post"),
        "temperature_limit": Parameter(65, "Cel", "温度限值", "Temperature limit"),
        "residual_limit": Parameter(30, "mA", "剩余电流限值", "Residual current limit"),
    },
)
