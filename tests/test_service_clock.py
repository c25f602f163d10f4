"""A simulated service clock is one for all processes, and goes on over restarts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from api.checkpoints import KEPT, Saved, read_checkpoints, write_checkpoint
from api.service_clock import open_clock
from api.settings import Clockwork, Settings
from ingest.clock import parse_us

START = "2026-05-01T00:00:00Z"


def settings(folder: Path, speed: float = 60.0) -> Settings:
    clock = Clockwork(start=START, speed=speed, allow_simulated=True)
    return Settings(data_dir=folder, site=folder / "site.yaml", clock=clock)


def test_wall_time_needs_no_file(tmp_path: Path) -> None:
    plain = Settings(data_dir=tmp_path, site=tmp_path / "site.yaml")
    assert not open_clock(plain).simulated
    assert list(tmp_path.iterdir()) == []


def test_all_processes_have_the_same_clock(tmp_path: Path) -> None:
    first = open_clock(settings(tmp_path))
    assert open_clock(settings(tmp_path)) == first
    assert parse_us(START) <= first.now_us() < parse_us(START) + 600_000_000


def test_a_new_speed_goes_on_from_where_the_clock_was(tmp_path: Path) -> None:
    before = open_clock(settings(tmp_path, 600.0))
    time.sleep(0.05)
    at_us = before.now_us()
    after = open_clock(settings(tmp_path, 1.5))
    assert after.now_us() >= at_us
    assert after.speed == 1.5


def test_a_simulated_clock_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    clock = Clockwork(start=START)
    with pytest.raises(ValueError, match="allow_simulated"):
        open_clock(Settings(data_dir=tmp_path, site=tmp_path, clock=clock))


def test_the_newest_checkpoints_of_this_journal_are_read_newest_first(tmp_path: Path) -> None:
    for batch in range(1, KEPT + 3):
        write_checkpoint(tmp_path, Saved("mine", batch, b"state"))
    write_checkpoint(tmp_path, Saved("other", 99, b"state"))
    (tmp_path / "000000000004.ckpt").write_bytes(b"damaged")
    assert [saved.batch for saved in read_checkpoints(tmp_path, "mine", 5)] == [5]
    assert read_checkpoints(tmp_path, "mine", 4) == []
    assert len(list(tmp_path.glob("*.ckpt"))) == KEPT
