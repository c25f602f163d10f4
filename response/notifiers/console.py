"""Writes each notice as one line of JSON, for a service log or a first try-out."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TextIO

from response.notifier import Notice, NotifierConfig, NotifierError, OpenNotifier, Receipt


@dataclass(frozen=True, slots=True)
class ConsoleNotifier:
    """A line that was written is accepted: whether anybody reads it is not known."""

    stream: TextIO

    @property
    def name(self) -> str:
        return "console"

    async def send(self, notice: Notice) -> Receipt:
        line = json.dumps({"notice": asdict(notice)}, ensure_ascii=False)
        try:
            self.stream.write(f"{line}\n")
            self.stream.flush()
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            raise NotifierError(
                f"the console's stream takes no line: {error}", permanent=False, code="stream"
            ) from error
        return Receipt("accepted")

    async def close(self) -> None:
        return None


def open_notifier(config: NotifierConfig) -> ConsoleNotifier:
    return ConsoleNotifier(config.stream or sys.stderr)


_: OpenNotifier = open_notifier
