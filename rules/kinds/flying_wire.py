"""Kind `flying_wire`: a charger on a circuit where none belongs, from its meter and cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ingest.clock import US_PER_S, format_us
from ingest.inputs import Json
from ingest.readings import Mask, Numbers, Times
from rules.flying import fusion, score
from rules.flying.features import Features, look
from rules.flying.hypotheses import (
    FREE,
    HIT,
    SLOT_MINUTES,
    follow,
    fresh_hypotheses,
    lose,
    on_steps,
)
from rules.flying.level import Steps, find_steps, forget, fresh_level, push_level, ring
from rules.flying.minutes import US_PER_MINUTE, Gap, closed_minutes, fresh_minutes
from rules.kind import (
    FOREVER_US,
    NEVER_US,
    NO,
    UNKNOWN,
    YES,
    Columns,
    Rows,
    Scope,
    Told,
    Verdicts,
)

SHOWN_MINUTES = 120

States = NDArray[np.int8]


@dataclass(frozen=True)
class FlyingWire:
    """Holds while a load on the circuit behaves as an e-bike's charger does: it comes on in one
    step, stays on a plateau for a long time, rises slowly, and later falls away.

    Looks at 1-min means of `metric` by event time (readings every second to every 10 minutes;
    shorter gaps are held, after longer ones nothing is assumed), at the level under all loads
    that come and go within 25 minutes. A load of `min_w` to `max_w` is first judged
    `decision_minutes` after it came on and then every 3 minutes; it counts from a score of
    `score` on until it is over.

    `decide: meter`: that alone decides. `decide: fused`: it joins what cameras of the same place
    see (`cable_hanging` for 3 minutes, `ebike` for 10) into the probability of a flying wire,
    starting from `prior` (a stairwell and night); the rule holds from `suspect` on.

    `utc_offset_hours` gives the local hour that the evidence shows. It is no part of the score: on
    recorded backgrounds a bonus for the evening added false alarms and found nothing more.
    """

    per: ClassVar[Literal["channel", "device"]] = "channel"

    metric: Annotated[str, Told("功率指标", "The metric of power")] = "power.active"
    decide: Annotated[
        Literal["meter", "fused"], Told("仅凭电表，或与摄像机合判", "By the meter, or with cameras")
    ] = "meter"
    # chargers of notebooks end at 65 W, the smallest packs' draw 73 W
    min_w: Annotated[float, Told("最小功率，W", "Least power of the load, W")] = 68.0
    max_w: Annotated[float, Told("最大功率，W", "Most power of the load, W")] = 520.0
    decision_minutes: Annotated[
        float, Told("接入后多少分钟开始判定", "Minutes from coming on to the first decision")
    ] = 50.0
    score: Annotated[float, Told("判为充电器的分值", "The score that counts as a charger")] = 0.4
    prior: Annotated[float, Told("每楼道每夜先验概率", "Prior of a stairwell and night")] = 0.02
    suspect: Annotated[float, Told("合判概率门槛", "The fused probability that holds")] = 0.5
    utc_offset_hours: Annotated[
        float, Told("当地与 UTC 的时差，小时", "Hours that local time is ahead of UTC")
    ] = 8.0

    def __post_init__(self) -> None:
        for name in ("score", "prior", "suspect"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} = {getattr(self, name)}: write a number between 0 and 1")
        if not 0.0 < self.min_w < self.max_w:
            raise ValueError(f"min_w = {self.min_w}: write one above 0 and below max_w")

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    @property
    def timed(self) -> bool:
        return self.decide == "fused"  # a camera's evidence begins to count while nothing comes in

    @property
    def parameters(self) -> tuple[str, ...]:
        return ()

    @property
    def sightings(self) -> tuple[str, ...]:
        return tuple(fusion.PERSISTS_S) if self.decide == "fused" else ()

    def fresh_columns(self, n: int) -> Columns:
        return {**fresh_minutes(n), **fresh_level(n), **fresh_hypotheses(n)}

    def observe(self, memory: Columns, rows: Rows, scope: Scope) -> Verdicts:
        usable = scope.fresh[:, 0] & np.isfinite(scope.value[:, 0])
        taken, value = rows[usable], scope.value[usable, 0]
        for over in closed_minutes(memory, taken, scope.time_us[usable, 0], value):
            if isinstance(over, Gap):
                self._lose(memory, over)
            else:
                self.take_minute(memory, over.rows, over.minute, over.mean)
        return self._verdicts(memory["state"][rows], memory["taper"][rows], scope)

    def judge(self, memory: Columns, scope: Scope) -> Verdicts:
        return self._verdicts(memory["state"], memory["taper"], scope)

    def due_us(self, memory: Columns, scope: Scope) -> Times:
        due = np.full(len(scope), FOREVER_US)
        for word in self.sightings:
            since = scope.seen_since_us[word]
            counts = np.where(since == NEVER_US, 0, since) + fusion.PERSISTS_S[word] * US_PER_S
            ahead = (since != NEVER_US) & (counts > scope.now_us)
            due = np.where(ahead, np.minimum(due, counts), due)
        return due

    def take_minute(self, memory: Columns, rows: Rows, minute: Times, mean: Numbers) -> None:
        """One minute more for the instances `rows`: its mean (k,) in W."""
        level = push_level(memory, rows, minute, mean)
        steps = find_steps(memory, rows, minute)
        some = np.nonzero(steps.size)[0]
        if len(some):
            told = Steps(steps.size[some], steps.at[some])
            on_steps(memory, rows[some], minute[some], told, self.max_w)
        follow(memory, rows, minute, level)
        due = minute % SLOT_MINUTES == SLOT_MINUTES - 1
        if due.any():
            self._score(memory, rows[due], minute[due])

    def _score(self, memory: Columns, rows: Rows, minute: Times) -> None:
        which, h = np.nonzero(memory["state"][rows] != FREE)
        if not len(which):
            return
        rows, minute = rows[which], minute[which]
        seen = look(memory, rows, h, minute)
        odds = score.log_odds(seen)
        memory["amplitude"][rows, h] = seen.amplitude
        memory["taper"][rows, h] |= score.taper_seen(seen)
        hit = self._allowed(memory, rows, h, minute, seen) & (odds >= _logit(self.score))
        memory["score"][rows, h] = odds
        memory["state"][rows[hit], h[hit]] = HIT

    def _allowed(self, memory: Columns, rows: Rows, h: Rows, minute: Times, seen: Features) -> Mask:
        old = minute - memory["since"][rows, h] >= self.decision_minutes
        fit = (seen.amplitude >= self.min_w) & (seen.amplitude <= self.max_w)
        return np.asarray(old & fit & (seen.plateau >= score.LEAST_PLATEAU))

    def _lose(self, memory: Columns, gap: Gap) -> None:
        for row, first, count in zip(gap.rows, gap.first, gap.count, strict=True):
            forget(memory, int(row), int(first), int(count))
            lose(memory, int(row), int(first), int(count))

    def _verdicts(self, state: States, taper: Mask, scope: Scope) -> Verdicts:
        stale = np.isnan(scope.value[:, 0]) & (state != FREE).any(axis=1)
        if self.decide == "meter":
            holds: Mask = (state == HIT).any(axis=1)
        else:
            holds = self._odds(state, taper, scope) >= _logit(self.suspect)
        return np.where(stale, UNKNOWN, np.where(holds, YES, NO)).astype(np.int8)

    def _odds(self, state: States, taper: Mask, scope: Scope) -> Numbers:
        return fusion.log_odds(self.prior, self._present(state, taper, scope))

    def _present(self, state: States, taper: Mask, scope: Scope) -> dict[str, Mask]:
        """(k,) for each word of the table of ratios whether that evidence is there now."""
        hit = (state == HIT).any(axis=1)
        tapered = ((state == HIT) & taper).any(axis=1)
        present = {"meter": hit & ~tapered, "meter_taper": tapered}
        for word in self.sightings:
            since = scope.seen_since_us[word]
            seen = since != NEVER_US
            length_us = scope.now_us - np.where(seen, since, scope.now_us)
            present[word] = seen & (length_us >= fusion.PERSISTS_S[word] * US_PER_S)
        if "ebike" in present:
            # the ratio of a cable is that of a cable to a bike: the same bike is no second witness
            present["ebike"] &= ~present["cable_hanging"]
        return present

    def evidence(self, memory: Columns, scope: Scope, row: int) -> dict[str, Json]:
        """The curve of the likeliest load, and with `decide: fused` what speaks for the wire."""
        shown: dict[str, Json] = {}
        if memory["minute"][row] != NEVER_US:
            at = np.array([memory["minute"][row] - 1])  # the last minute that is over
            shown |= self._curve(memory, row, at)
            means = ring(memory["power"], np.array([row]), at, np.arange(SHOWN_MINUTES)[::-1])[0]
            shown["minute_means_w"] = [None if np.isnan(w) else round(float(w), 1) for w in means]
        if self.decide == "fused":
            shown |= self._case(memory, scope, row)
        return shown

    def _curve(self, memory: Columns, row: int, minute: Times) -> dict[str, Json]:
        """Of the hit with the highest score, else of the open load with the highest; else empty."""
        state, odds = memory["state"][row], memory["score"][row]
        if not (state != FREE).any():
            return {}
        rank = np.where(state == FREE, -np.inf, np.maximum(odds, -1e6) + 1e7 * (state == HIT))
        h = int(np.argmax(rank))
        seen = look(memory, np.array([row]), np.array([h]), minute)
        since = int(memory["since"][row, h])
        return {
            "on_since": format_us(since * US_PER_MINUTE),
            "on_hour_local": _rounded((since / 60.0 + self.utc_offset_hours) % 24.0),
            "minutes": int(minute[0]) - since,
            "base_w": _rounded(float(memory["base"][row, h])),
            "amplitude_w": _rounded(float(seen.amplitude[0])),
            "plateau_minutes": int(seen.plateau[0]),
            "slope_per_hour": _rounded(float(seen.slope[0])),
            "ripple": _rounded(float(seen.ripple[0])),
            "taper": bool(memory["taper"][row, h]),
            "score": _rounded(fusion.probability(float(odds[h]))),
        }

    def _case(self, memory: Columns, scope: Scope, row: int) -> dict[str, Json]:
        state, taper = memory["state"], memory["taper"]
        p = fusion.probability(float(self._odds(state, taper, scope)[row]))
        present = self._present(state, taper, scope)
        speaks: dict[str, Json] = {
            word: fusion.RATIOS[word].value for word, there in present.items() if there[row]
        }
        return {
            "p": _rounded(p),
            "stage": fusion.stage(p),
            "prior": self.prior,
            "likelihood_ratios": speaks,
        }


def _logit(p: float) -> float:
    return math.log(p / (1.0 - p))


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


KIND = FlyingWire
