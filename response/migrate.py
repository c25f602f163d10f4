"""Brings the case database to the tables of this version, or back to those of an older one."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from response.db import connect

_SCRIPTS = Path(__file__).parent / "migrations"


def open_database(url: str) -> Engine:
    """The case database, created or upgraded if need be. Processes may do so at the same time:
    an upgrade is one transaction, and whoever comes second finds it done."""
    engine = connect(url)
    try:
        upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Up to `revision`. Alembic's CommandError: the database is newer than this version."""
    with engine.begin() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Down to `revision` ("base": no tables), which drops what the older version cannot hold."""
    with engine.begin() as connection:
        command.downgrade(_config(connection), revision)


def _config(connection: object) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
