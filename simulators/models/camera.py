"""Cameras: stream, picture, recording, and what their video analysis believes to see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.clock import US_PER_S
from ingest.readings import Numbers
from ingest.registry import Device
from simulators.model import Column, Frame, Levers, Occurrence, Surroundings, parameter, tagged
from simulators.weather import Moment, is_dark, moment

KINDS = ("ebike", "cable_hanging")


@dataclass(frozen=True, slots=True)
class Parameters:
    """Picture figures by day and by infra-red: measured on test scenes of 320 x 180. Rates of
    sightings: passers-by at an entrance 3 an hour when people come and go, false ones 0.2 a
    night and camera, lasting about 20 min where they stick (assumption)."""

    passing_per_s: float = 3.0 / 3_600
    passing_s: float = 45.0
    false_per_s: float = 0.2 / (12 * 3_600)
    false_s: float = 20 * 60.0
    latency_s: tuple[float, float] = (5.0, 30.0)
    night_bitrate: float = 0.7


class Cameras:
    """`n` cameras; state arrays are (n,), sightings (kinds, n)."""

    warm_up_s = 0.0

    def __init__(self, devices: Sequence[Device], around: Surroundings) -> None:
        self.parameters = Parameters()
        self.n = n = len(devices)
        self.zone = around.zone
        self.rng = rng = around.rng("camera")
        self.names = [device.id for device in devices]
        self.entrance = tagged(devices, "entrance")
        # only these are watched by video analysis: sheds are where bikes belong
        self.watched = self.entrance | tagged(devices, "facade")
        self.zones = ["zone.entrance" if here else "zone.facade" for here in self.entrance]
        self.nominal = parameter(devices, "nominal_frame_rate")
        self.bitrate = rng.uniform(2_000, 4_000, n)
        self.luma = rng.uniform(95, 135, n)
        self.contrast = rng.uniform(45, 65, n)
        self.sharpness = rng.uniform(0.18, 0.5, n)
        self.noise_day = rng.uniform(2, 4, n)
        self.noise_night = rng.uniform(6, 9, n)
        self.left_s = np.zeros((2, n))
        self.seen = np.zeros((2, n), np.bool_)
        self.count = np.zeros((2, n), np.int64)
        self.frozen: dict[str, Numbers] = {}
        self.levers: Levers = {
            "frame_rate": np.ones(n),  # factors
            "light": np.ones(n),
            "focus": np.ones(n),
            "grain": np.ones(n),
            "covered": np.zeros(n),  # share of the picture
            "frozen": np.zeros(n),
            "idle": np.zeros(n),  # 1: nothing is recorded
            "ebike": np.zeros(n),  # 1: a bike stands there
            "cable_hanging": np.zeros(n),
        }

    def step(self, now_us: int, dt_s: float) -> Frame:
        now = moment(now_us, self.zone)
        occurrences = tuple(self._watch(now, dt_s))
        return Frame(self._picture(now), occurrences)

    def _picture(self, now: Moment) -> tuple[Column, ...]:
        noise = self.rng.normal(0, 1, (7, self.n))
        night = is_dark(now)
        lever = self.levers
        light, covered = lever["light"], lever["covered"]
        # a covered or black picture has neither edges nor contrast left, only the sensor's noise
        open_share = np.minimum(light, 1) * (1 - covered)
        rate = self.nominal * lever["frame_rate"] + 0.3 * noise[0]
        bitrate = self.bitrate * (self.parameters.night_bitrate if night else 1.0)
        bitrate *= lever["frame_rate"] * (0.15 + 0.85 * open_share) * (1 + 0.08 * noise[1])
        luma = self.luma * (0.75 if night else 1.0) * light * (1 - 0.6 * covered) + noise[2]
        contrast = self.contrast * open_share + 0.5 * noise[3]
        sharp = self.sharpness * (0.9 if night else 1.0) * lever["focus"] * open_share
        grain = (self.noise_night if night else self.noise_day) * lever["grain"]
        values = {
            "video.frame_rate": np.round(rate.clip(0, 60), 1),
            "video.bitrate": np.round(bitrate.clip(0)),
            "image.luma": np.round(luma.clip(0, 255), 1),
            "image.contrast": np.round(contrast.clip(0, 127), 1),
            "image.sharpness": np.round((sharp * (1 + 0.04 * noise[4])).clip(0, 10), 4),
            "image.noise": np.round((grain * (1 + 0.05 * noise[5])).clip(0, 255), 2),
            "image.occlusion": np.round(
                np.maximum(covered, 0.015 * np.abs(noise[6])).clip(0, 1), 3
            ),
        }
        shown = self._freeze(values)
        recording = np.where(lever["idle"] > 0, 0.0, 1.0)
        columns = [Column("main", metric, value) for metric, value in shown.items()]
        return (*columns, Column("main", "state.recording", recording))

    def _freeze(self, values: dict[str, Numbers]) -> dict[str, Numbers]:
        """A frozen picture is the same to the last digit, though frames still come."""
        still = (self.levers["frozen"] > 0) if self.frozen else np.zeros(self.n, np.bool_)
        for metric, value in values.items():
            if metric.startswith("image."):
                value[still] = self.frozen.get(metric, value)[still]
                self.frozen[metric] = value
        return values

    def _watch(self, now: Moment, dt_s: float) -> Iterator[Occurrence]:
        chance, wait = self.rng.random((2, 2, self.n))
        false_s, seen_s = self.rng.exponential(1, (2, 2, self.n))
        score = self.rng.beta(6, 2, (2, self.n))
        night = is_dark(now)
        busy = 6.5 <= now.hour < 9 or 16.5 <= now.hour < 20
        passing = self.entrance * self.parameters.passing_per_s * (1.0 if busy else 0.15)
        false = self.watched * self.parameters.false_per_s * (1.0 if night else 0.3)
        new_false = chance < false * dt_s
        new_pass = (chance >= false * dt_s) & (chance < (false + passing) * dt_s)
        new_pass[1] = False  # nobody carries a cable past
        lasting = np.where(
            new_false, self.parameters.false_s * false_s, self.parameters.passing_s * seen_s
        )
        self.left_s = np.where(
            (new_false | new_pass) & (self.left_s <= 0), lasting, np.maximum(0, self.left_s - dt_s)
        )
        held = np.stack([self.levers[kind] for kind in KINDS]) > 0
        blind = (self.levers["light"] < 0.2) | (self.levers["covered"] > 0.5)
        sees = ((self.left_s > 0) | held) & ~blind
        for kind, row in np.argwhere(sees | self.seen):
            first, second = self.parameters.latency_s
            # an analysis box needs some frames before it says anything, and is late to let go
            after_us = int(min(dt_s - 1, first + (second - first) * wait[kind, row]) * US_PER_S)
            yield self._told(kind, row, sees[kind, row], after_us, round(score[kind, row], 2))
        self.seen = sees

    def _told(self, kind: int, row: int, sees: bool, after_us: int, score: float) -> Occurrence:
        begins = sees and not self.seen[kind, row]
        self.count[kind, row] += begins
        return Occurrence(
            int(row),
            max(0, after_us),
            f"{self.names[row]}-{KINDS[kind]}-{self.count[kind, row]}",
            KINDS[kind],
            self.zones[row],
            "start" if begins else "update" if sees else "end",
            {"score": float(score)},
        )


MODEL = Cameras
