"""A gateway that speaks for the devices behind it."""

from ingest.device import DeviceType, measures

DEVICE = DeviceType(
    name="gateway",
    zh="网关",
    en="Gateway",
    channels={
        "*": measures(
            "signal.rssi", "count.clients", "count.devices", "temperature", "battery", "state.power"
        )
    },
    interval_s=60,
    stale_after_s=180,
)
