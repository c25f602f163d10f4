from pathlib import Path

import pytest

from ingest.cursors import read_cursors, write_cursor
from ingest.status import read_status, write_status
from ingest.store import Cursor


def test_cursors_are_read_back_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "cursors"
    assert read_cursors(folder) == {}
    write_cursor(folder, "drain", Cursor("j", 1))
    write_cursor(folder, "respond", Cursor("j", 7))
    write_cursor(folder, "drain", Cursor("j", 9))
    assert read_cursors(folder) == {"drain": Cursor("j", 9), "respond": Cursor("j", 7)}
    assert sorted(file.name for file in folder.iterdir()) == ["drain.json", "respond.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"journal": "j"}', b"null"])
def test_an_unreadable_cursor_holds_everything_back(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "drain.json").write_bytes(content)
    assert read_cursors(tmp_path) == {"drain": Cursor("", 0)}


def test_status_is_what_was_said_last(tmp_path: Path) -> None:
    assert read_status(tmp_path, "watch") is None
    write_status(tmp_path, "watch", {"batch": 1})
    write_status(tmp_path, "watch", {"batch": 2, "problem": "无"})
    assert read_status(tmp_path, "watch") == {"batch": 2, "problem": "无"}
    (tmp_path / "watch.json").write_text("{")
    assert read_status(tmp_path, "watch") is None
