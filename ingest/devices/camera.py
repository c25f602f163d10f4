"""A camera: its stream, its picture's health, and what its video analysis saw."""

from ingest.device import DeviceType, Parameter, measures

DEVICE = DeviceType(
    name="camera",
    zh="摄像机",
    en="Camera",
    channels={
        "*": measures(
            "video.frame_rate",
            "video.bitrate",
            "image.luma",
            "image.contrast",
            "image.sharpness",
            "image.noise",
            "image.occlusion",
            "state.recording",
        )
    },
    interval_s=30,
    stale_after_s=120,
    # sharpness: 0.35 of a normal picture's 0.29 (variance of the Laplacian less noise, over the
    # picture's variance, on 320x180 grey)
    parameters={
        "nominal_frame_rate": Parameter(25, "/s", "标称帧率", "Nominal frame rate"),
        "sharpness_limit": Parameter(0.1, "1", "清晰度下限", "Least sharpness"),
    },
)
