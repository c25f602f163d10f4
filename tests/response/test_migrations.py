from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from response import migrate
from response.actions import acknowledge, actions_of, comment
from response.db import Tables, connect, reading, writing
from response.migrate import downgrade, open_database, upgrade
from response.notices import notices
from response.outbox import take_in
from tests.response.community import START_US, change_of, public_of

SCRIPTS = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations"))
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()]


def fill(engine: Engine) -> None:
    with writing(engine) as session:
        take_in(session, [change_of()], public_of(), START_US)
    comment(engine, change_of().episode, "王工", START_US + 1, "在路上")


def test_the_migrations_make_exactly_the_tables_of_the_models(engine: Engine) -> None:
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Tables.metadata) == []


def test_every_migration_goes_down_and_up_again_with_data_in_the_tables(engine: Engine) -> None:
    fill(engine)
    for revision in REVISIONS:
        downgrade(engine, f"{revision}-1" if revision != REVISIONS[-1] else "base")
        upgrade(engine)
    assert inspect(engine).get_table_names()
    downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}


def test_opening_again_keeps_everything(url: str) -> None:
    first = open_database(url)
    fill(first)
    first.dispose()
    again = open_database(url)
    assert len(notices(again, 10)) == 2
    assert [row.text for row in actions_of(again, [change_of().episode])[change_of().episode]] == [
        "在路上"
    ]
    again.dispose()


def test_processes_that_open_a_new_database_at_once_all_succeed(url: str) -> None:
    problems: list[BaseException] = []

    def open_it() -> None:
        try:
            open_database(url).dispose()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_database_of_a_newer_version_is_refused(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Exception, match="9999"):
        open_database(url)


def test_a_commit_is_synced_and_foreign_keys_hold(url: str) -> None:
    engine = connect(url)
    with engine.connect() as connection:
        settings = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    full = 2
    assert settings == {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }


def test_reading_does_not_wait_for_a_writer(engine: Engine) -> None:
    fill(engine)
    with writing(engine) as session:
        take_in(session, [change_of(device="post-8")], public_of(), START_US)
        with reading(engine) as other:
            assert other.execute(text("SELECT count(*) FROM alert")).scalar() == 1


def test_an_acknowledgement_and_a_change_at_once_wait_for_one_another(engine: Engine) -> None:
    fill(engine)
    thread = threading.Thread(
        target=acknowledge, args=(engine, change_of().episode, "li", START_US + 2)
    )
    with writing(engine) as session:
        thread.start()
        take_in(session, [change_of("unknown", at_us=START_US + 1)], public_of(), START_US)
    thread.join()
    assert [row.state for row in notices(engine, 10)] == ["cancelled", "cancelled"]
