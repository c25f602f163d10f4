"""Journal → store: a thread that follows the journal, retries, and goes on where it was."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ingest import sift
from ingest.clock import US_PER_S, Clock
from ingest.cursors import write_cursor
from ingest.journal import JournalReader
from ingest.readings import Readings
from ingest.store import Cursor, Store
from ingest.tail import READ_BATCHES, start_after

_log = logging.getLogger(__name__)

NAME = "drain"
"""The name of its cursor in DATA/cursors."""

PART_ROWS = 500_000
POLL_S = 0.5
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
PERMANENT_RETRY_S = 300.0


@dataclass(frozen=True, slots=True)
class DrainStatus:
    """What it has done since the start, and how far it is behind the journal.

    `lag_batches` and `lag_s` (service time since the oldest batch that is not in the store).
    `missing_batches` were no longer in the journal when they should have been drained.
    `error` is "" as long as all goes well; `permanent`: a person must do something.
    """

    journal: str = ""
    batch: int = 0
    lag_batches: int = 0
    lag_s: float = 0.0
    readings: int = 0
    appends: int = 0
    failures: int = 0
    missing_batches: int = 0
    error: str = ""
    permanent: bool = False


class Drain:
    """Appends when `part_rows` readings wait, or when the last append is `every_s` ago.

    `cursors` is the folder where the others see how far it has come. Holds at most about
    `part_rows` + 500,000 readings. Never writes the journal; does not close store and reader.
    """

    def __init__(
        self,
        store: Store,
        reader: JournalReader,
        clock: Clock,
        cursors: Path,
        *,
        every_s: float = 60.0,
        part_rows: int = PART_ROWS,
        retry_s: Callable[[int, bool], float] | None = None,
    ) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._cursors = cursors
        self._every_us = int(every_s * US_PER_S)
        self._part_rows = part_rows
        self._retry_s = retry_s or retry_delay_s
        self._poll_s = max(0.01, min(POLL_S, clock.wall_s(every_s) / 4))
        self._status = DrainStatus()
        self._failed_in_a_row = 0
        self._resumed = False
        self._upto = 0  # taken in
        self._pieces: list[Readings] = []
        self._waiting = 0
        self._oldest_us = 0  # 0: nothing waits
        self._appended_us = clock.now_us()
        self._wake = threading.Condition()
        self._stopping = False
        self._flushes = 0  # asked for
        self._flushed = 0  # done
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to follow the journal in a thread of its own."""
        if self._thread is not None:
            raise RuntimeError("this drain was started already")
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Ends after the step it is in; what is not appended stays in the journal. False: it did
        not end within `timeout_s`."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Waits until all that is committed now is in the store; False: not within `timeout_s`."""
        with self._wake:
            self._flushes += 1
            mine = self._flushes
            self._wake.notify_all()
            return self._wake.wait_for(
                lambda: self._flushed >= mine or self._stopping, timeout_s
            ) and (self._flushed >= mine)

    def status(self) -> DrainStatus:
        """As of the last step."""
        return self._status

    def _run(self) -> None:
        wait_s = 0.0
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or self._flushing, wait_s)
                if self._stopping:
                    self._wake.notify_all()
                    return
            wait_s = self.step()

    @property
    def _flushing(self) -> bool:
        # while the store fails, a flush does not shorten the wait
        return self._flushes > self._flushed and not self._failed_in_a_row

    def step(self) -> float:
        """Takes in what came, appends if it is time, and says for how many seconds of wall time to
        wait. Called by the thread, or, without one, by whoever wants to go step by step."""
        flush = self._flushes
        began_s = time.monotonic()
        try:
            wait_s = self._follow(began_s, flush)
        except Exception as error:  # whatever it is, readings stay in the journal and people see it
            return self._failed(error)
        self._failed_in_a_row = 0
        self._status = replace(self._status, error="", permanent=False)
        return wait_s

    def _follow(self, began_s: float, flush: int) -> float:
        if not self._resumed:
            self._resume()
        full = self._take_in()
        due = self._clock.now_us() - self._appended_us >= self._every_us
        asked = flush > self._flushed
        if self._upto > self._status.batch and (full or due or asked):
            self._append()
        self._tell_lag()
        if full:
            # a backlog: what is live comes first, so at most half of the time is taken for it
            return 0.0 if asked else min(2.0, time.monotonic() - began_s)
        with self._wake:
            self._flushed = flush
            self._wake.notify_all()
        if self._store.tidy():
            return 0.0
        return self._poll_s

    def _resume(self) -> None:
        cursor = self._store.cursor()
        after, missing = start_after(cursor, self._reader)
        if missing:
            _log.error("batches gone from the journal before they were drained n=%d", missing)
        self._upto = after
        self._status = replace(
            self._status,
            journal=self._reader.id,
            batch=after,
            missing_batches=self._status.missing_batches + missing,
        )
        if cursor == Cursor(self._reader.id, after):
            write_cursor(self._cursors, NAME, cursor)
        self._resumed = True

    def _take_in(self) -> bool:
        """Whether a part is full (and more may be waiting)."""
        while self._waiting < self._part_rows:
            batches = self._reader.read(self._upto, READ_BATCHES)
            if not batches:
                return False
            if not self._oldest_us:
                self._oldest_us = batches[0].now_us
            found = [sift.kept(batch.inputs.readings) for batch in batches]
            # one piece a read: thousands of small batches are not held as thousands of arrays
            self._pieces.append(Readings.concat(found))
            self._waiting += len(self._pieces[-1])
            self._upto = batches[-1].number
        return True

    def _append(self) -> None:
        cursor = Cursor(self._reader.id, self._upto)
        readings = Readings.concat(self._pieces)
        self._store.append(readings, self._reader.table(), cursor)
        self._pieces, self._waiting, self._oldest_us = [], 0, 0
        self._appended_us = self._clock.now_us()
        self._status = replace(
            self._status,
            batch=cursor.batch,
            readings=self._status.readings + len(readings),
            appends=self._status.appends + 1,
        )
        write_cursor(self._cursors, NAME, cursor)

    def _tell_lag(self) -> None:
        behind_us = self._clock.now_us() - self._oldest_us if self._oldest_us else 0
        self._status = replace(
            self._status,
            lag_batches=self._reader.last() - self._status.batch,
            lag_s=max(0, behind_us) / US_PER_S,
        )

    def _failed(self, error: Exception) -> float:
        """Starts over from what the store says it has: a failed append may have been done."""
        self._resumed = False
        self._pieces, self._waiting, self._oldest_us = [], 0, 0
        self._appended_us = 0  # at the next try it is time
        self._failed_in_a_row += 1
        permanent = bool(getattr(error, "permanent", False))
        self._status = replace(
            self._status,
            failures=self._status.failures + 1,
            error=f"{type(error).__name__}: {error}",
            permanent=permanent,
        )
        wait_s = self._retry_s(self._failed_in_a_row, permanent)
        _log.error("drain failed retry_s=%.1f error=%s", wait_s, error, exc_info=error)
        return wait_s


def retry_delay_s(failed_in_a_row: int, permanent: bool) -> float:
    """Doubles from 1 s to 60 s; 5 min for what trying again cannot help. With jitter, so that
    many services do not come back to one store at the same moment."""
    if permanent:
        delay_s = PERMANENT_RETRY_S
    else:
        delay_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(failed_in_a_row - 1, 10))
    return delay_s * random.uniform(0.5, 1.5)
