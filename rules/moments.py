"""Rows into state, moment by moment: all rows of a device that came and happened together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ingest.readings import Readings, Times
from rules.alerts import by_rule, hear
from rules.instances import activate_series
from rules.kind import SILENT, Rows, Verdicts
from rules.scopes import scope_of
from rules.state import NONE, Numbered, State, View, Watch

FEW = 2_000
"""Below so many rows sorting is faster than a pass over all instances."""


def take_in(state: State, readings: Readings) -> None:
    """Fresh rows, ordered by arrival and then time, none older than the last settled grid point."""
    device = state.series.device[readings.series]
    for rows in rounds(device, readings):
        _round(state, readings if rows is None else readings.take(rows))


def rounds(device: Numbered, readings: Readings) -> Iterator[Rows | None]:
    """The k-th moment of every device, for k = 0, 1, …; None: all rows at once."""
    if _one_moment(device, readings):
        yield None
        return
    order = np.argsort(device, kind="stable")
    device, arrival, time = device[order], readings.arrival_us[order], readings.time_us[order]
    other = np.ones(len(order), bool)
    other[1:] = device[1:] != device[:-1]
    begins = np.flatnonzero(other)
    other[1:] |= (arrival[1:] != arrival[:-1]) | (time[1:] != time[:-1])
    moment = np.cumsum(other)
    rank = moment - np.repeat(moment[begins], np.diff(np.append(begins, len(order))))
    by_rank = np.argsort(rank, kind="stable")
    ends = np.cumsum(np.bincount(rank))
    for begin, end in zip(np.append(0, ends[:-1]), ends, strict=True):
        yield order[by_rank[begin:end]]


def _one_moment(device: Numbered, readings: Readings) -> bool:
    arrival, time = readings.arrival_us, readings.time_us
    if arrival[0] == arrival[-1] and (time == time[0]).all():
        return True
    newest = np.zeros(int(device.max()) + 1, np.intp)
    newest[device] = np.arange(len(device))
    peer = newest[device]
    return bool((arrival[peer] == arrival).all() and (time[peer] == time).all())


def _round(state: State, rows: Readings) -> None:
    columns = state.series
    rows = _news(state, rows)
    if not len(rows):
        return
    series = rows.series
    unseen = ~columns.seen[series]
    if unseen.any():
        for number, arrival in zip(series[unseen], rows.arrival_us[unseen], strict=True):
            activate_series(state, int(number), int(arrival))
    state.round += 1
    columns.time_us[series] = rows.time_us
    columns.arrival_us[series] = rows.arrival_us
    columns.value[series] = rows.value
    columns.mark[series] = state.round
    device = columns.device[series]
    state.devices.heard_us[device] = rows.arrival_us
    lone = state.devices.lone[device]
    state.alerts.touched[lone[lone != NONE]] = True
    watched = columns.watched[series]
    _observe(state, _distinct(watched[watched != NONE], state.alerts.n))


def _news(state: State, rows: Readings) -> Readings:
    """The rows that are newer than their series; of two at the same time the first counts."""
    columns, series = state.series, rows.series
    order = np.arange(len(series))
    columns.place[series[::-1]] = order[::-1]
    news = (rows.time_us > columns.time_us[series]) & (columns.place[series] == order)
    return rows if news.all() else rows.take(news)


def _distinct(instances: Numbered, n: int) -> Rows:
    if len(instances) < FEW:
        return np.unique(instances).astype(np.intp)
    there = np.zeros(n, bool)
    there[instances] = True
    return np.flatnonzero(there)


def _observe(state: State, instances: Rows) -> None:
    """What the kinds say of the instances that this round touched."""
    if not len(instances):
        return
    alerts = state.alerts
    instances, parts = by_rule(alerts, instances)
    now_us = state.devices.heard_us[alerts.device[instances]]
    rows = alerts.row[instances].astype(np.intp)
    word = np.full(len(instances), SILENT)
    clear = np.full(len(instances), SILENT)
    for rule, part in parts:
        view = state.views[rule]
        word[part] = _ask(state, view, view.main, rows[part], now_us[part])
        if view.clear:
            clear[part] = _ask(state, view, view.clear, rows[part], now_us[part])
    alerts.touched[instances] = True
    hear(alerts, instances, word, clear, now_us)


def _ask(state: State, view: View, watch: Watch, rows: Rows, now_us: Times) -> Verdicts:
    if view.clear is None:
        scope = scope_of(state, view, watch, rows, now_us, state.round)
        return watch.kind.observe(watch.memory, rows, scope)
    # the condition and its clear condition may look at different metrics
    word = np.full(len(rows), SILENT)
    mine = (state.series.mark[watch.series[rows]] == state.round).any(axis=1)
    if mine.any():
        scope = scope_of(state, view, watch, rows[mine], now_us[mine], state.round)
        word[mine] = watch.kind.observe(watch.memory, rows[mine], scope)
    return word
