"""The metric catalogue: each word, its UCUM unit, what it is, and what is plausible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricForm = Literal["gauge", "counter", "state"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One word of the catalogue. `words` are the values of a state, by number."""

    word: str
    unit: str
    form: MetricForm
    low: float
    high: float
    words: tuple[str, ...] = ()
    zh: str = ""
    en: str = ""


def _gauge(word: str, unit: str, low: float, high: float, zh: str, en: str) -> Metric:
    return Metric(word, unit, "gauge", low, high, (), zh, en)


def _counter(word: str, unit: str, zh: str, en: str) -> Metric:
    return Metric(word, unit, "counter", 0.0, 1e12, (), zh, en)


def _state(word: str, words: str, zh: str, en: str) -> Metric:
    listed = tuple(words.split())
    return Metric(word, "1", "state", 0.0, float(len(listed) - 1), listed, zh, en)


_CATALOGUE = (
    _gauge("power.active", "W", -1e6, 1e6, "有功功率", "Active power"),
    _gauge("power.reactive", "V.A{reactive}", -1e6, 1e6, "无功功率", "Reactive power"),
    _gauge("power.apparent", "V.A", 0, 1e6, "视在功率", "Apparent power"),
    _gauge("power.distortion", "V.A{distortion}", 0, 1e6, "畸变功率", "Distortion power"),
    _gauge("voltage", "V", 0, 1_000, "电压", "Voltage"),
    _gauge("current", "A", 0, 5_000, "电流", "Current"),
    _gauge("current.residual", "mA", 0, 30_000, "剩余电流", "Residual current"),
    _gauge("current.harmonic3", "A", 0, 1_000, "三次谐波电流", "Third-harmonic current"),
    _gauge("current.thd", "%", 0, 1_000, "电流总谐波畸变", "Current distortion"),
    _gauge("frequency", "Hz", 0, 400, "频率", "Frequency"),
    _gauge("power_factor", "1", -1, 1, "功率因数", "Power factor"),
    _gauge("temperature", "Cel", -60, 500, "温度", "Temperature"),
    _gauge("humidity", "%", 0, 100, "湿度", "Humidity"),
    _gauge("pressure", "kPa", -101.4, 10_000, "压力", "Pressure"),
    _gauge("pressure.differential", "kPa", -10_000, 10_000, "压差", "Pressure difference"),
    _gauge("flow", "m3/h", -1e4, 1e4, "流量", "Flow"),
    _gauge("level", "m", -5, 100, "液位", "Level"),
    _gauge("speed", "/min", -1e5, 1e5, "转速", "Speed"),
    _gauge("vibration.velocity.rms", "mm/s", 0, 1_000, "振动速度", "Vibration velocity"),
    _gauge("vibration.acceleration.rms", "[g]", 0, 1_000, "振动加速度", "Vibration acceleration"),
    _gauge("signal.rssi", "{dBm}", -200, 50, "信号强度", "Signal strength"),
    _gauge("battery", "%", 0, 100, "电池电量", "Battery"),
    _gauge("image.luma", "1", 0, 255, "画面亮度", "Image brightness"),
    _gauge("image.contrast", "1", 0, 255, "画面对比度", "Image contrast"),
    _gauge("image.sharpness", "1", 0, 10, "画面清晰度", "Image sharpness"),
    _gauge("image.noise", "1", 0, 255, "画面噪声", "Image noise"),
    _gauge("image.occlusion", "1", 0, 1, "画面遮挡", "Image occlusion"),
    _gauge("video.frame_rate", "/s", 0, 240, "视频帧率", "Frame rate"),
    _gauge("video.bitrate", "kbit/s", 0, 1e6, "视频码率", "Video bit rate"),
    _gauge("count.sessions", "1", 0, 1e6, "充电会话数", "Sessions"),
    _gauge("count.devices", "1", 0, 1e6, "在线设备数", "Devices online"),
    _gauge("count.clients", "1", 0, 1e6, "接入设备数", "Clients"),
    _counter("energy.active.import", "kW.h", "用电量", "Energy imported"),
    _counter("energy.active.export", "kW.h", "送电量", "Energy exported"),
    _counter("volume", "m3", "累计水量", "Volume"),
    _counter("runtime", "h", "累计运行", "Running time"),
    _counter("starts", "1", "累计启动次数", "Starts"),
    _state("state.relay", "open closed", "继电器", "Relay"),
    _state("state.socket", "idle charging full fault", "插座状态", "Socket state"),
    _state("state.run", "stopped running fault", "运行状态", "Running state"),
    _state("state.selector", "off manual auto", "选择开关", "Selector"),
    _state("state.door", "closed open", "箱门", "Door"),
    _state("state.power", "mains battery off", "供电", "Power supply"),
    _state("state.recording", "off on", "录像", "Recording"),
)

CATALOGUE: dict[str, Metric] = {metric.word: metric for metric in _CATALOGUE}


def state_number(metric: Metric, value: object) -> float | None:
    """The number of a state's word (or of a boolean, for a state of two words), or None."""
    if isinstance(value, bool):
        return float(value) if len(metric.words) == 2 else None
    if isinstance(value, str) and value in metric.words:
        return float(metric.words.index(value))
    if isinstance(value, int | float) and float(value).is_integer() and 0 <= value <= metric.high:
        return float(value)
    return None
