"""The database of a review store: opened and migrated, read and written in transactions that survive a server that comes back.

SQLite runs in WAL mode with synchronous=FULL: readers never wait for a writer, and a commit is on the disk before it is acknowledged.
Whoever writes takes the only write lock first (BEGIN IMMEDIATE); threads of one process queue up before it, since SQLite itself lets
them poll. PostgreSQL locks the findings that a transaction touches.

A transaction that a lost connection or a deadlock ended is run again. Whether it had been committed may then be unknown; each of them
carries an idempotency key, or gives the same result twice.
"""

import sqlite3
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from shelfcode.errors import ShelfcodeError

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds for which a database that cannot be reached is asked again."""

LOCK_SECONDS = 60
"""So long a process waits for another one's transaction in SQLite; the longest takes in an audit."""

CONNECTIONS = 20

_MIGRATING = 0x5E1FC0DE
"""The advisory lock of PostgreSQL that only one migration holds."""

_PASSING = {"40001", "40P01", "57P01", "57P02", "57P03", "53300", "25006"}
"""PostgreSQL's codes for what passes: serialization failure, deadlock, a server that stops, crashed or starts, too many connections, and
a standby that is about to be promoted."""


class Database:
    """An engine, and the two ways to use it. Thread-safe."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._writes = engine.execution_options(writes=True)
        self._turn = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def url(self) -> str:
        """Without the password."""
        return self.engine.url.render_as_string(hide_password=True)

    def reading(self, work: Callable[[sa.Connection], T]) -> T:
        """Run work that changes nothing, in one transaction."""

        def once() -> T:
            with self.engine.begin() as connection:
                return work(connection)

        return self._patiently(once)

    def writing(self, work: Callable[[sa.Connection], T]) -> T:
        """Run work in one transaction, which is committed when this returns; may run it more than once."""

        def once() -> T:
            if not self.is_sqlite:
                with self._writes.begin() as connection:
                    return work(connection)
            with self._turn, self._writes.begin() as connection:
                return work(connection)

        return self._patiently(once)

    def insert(self, table: sa.Table) -> Any:
        """INSERT that knows ON CONFLICT, which either database has in its own dialect."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        self.engine.dispose()

    def _patiently(self, once: Callable[[], T]) -> T:
        try:
            for attempt in Retrying(
                retry=retry_if_exception(_passes), stop=stop_after_delay(PATIENCE), wait=wait_exponential_jitter(0.05, 1.0), reraise=True
            ):
                with attempt:
                    return once()
            raise AssertionError("tenacity gives up with an exception")
        except OperationalError as error:
            raise ShelfcodeError(_told(self.engine.url, error)) from error


def open_database(url: str) -> Database:
    """Open a database and bring its tables up to date; a SQLite file that is not there yet is made.

    Raises:
        ShelfcodeError: the URL says no such database, it cannot be opened, or a newer version of the library has changed its tables.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        _make_folder(address)
    database = Database(_engine(address))
    try:
        migrate(database)
    except (OperationalError, DBAPIError) as error:
        database.close()
        raise ShelfcodeError(_told(address, error)) from error
    except BaseException:
        database.close()
        raise
    return database


def migrate(database: Database) -> None:
    """Bring the tables up to date. Of several processes that do so at once one does it, and the others wait.

    Raises:
        ShelfcodeError: the tables are of a version that this library does not know.
    """
    newest, known = _versions()

    def version(connection: sa.Connection) -> str | None:
        found = MigrationContext.configure(connection, opts={"version_table": "schema_version"}).get_current_revision()
        if found is not None and found not in known:
            raise ShelfcodeError(
                f"the review store {database.url} has tables of version {found}, and this version of shelfcode knows {newest}: install a "
                "newer one. Nothing was touched"
            )
        return found

    with database.engine.begin() as connection:
        if version(connection) == newest:
            return
    with database._turn, database._writes.begin() as connection:
        if not database.is_sqlite:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATING})
        if version(connection) != newest:
            config = _migrations()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


@cache
def _versions() -> tuple[str | None, frozenset[str]]:
    """The newest version of the tables, and all that this library knows. Reading them imports each migration, once is enough."""
    script = ScriptDirectory.from_config(_migrations())
    return script.get_current_head(), frozenset(revision.revision for revision in script.walk_revisions())


def _address(url: str) -> sa.URL:
    """A SQLAlchemy URL; a bare path is a SQLite file, and psycopg is PostgreSQL's driver."""
    try:
        address = sa.make_url(url if "://" in url else f"sqlite:///{url}")
        if address.drivername in ("postgres", "postgresql"):
            address = address.set(drivername="postgresql+psycopg")
    except ArgumentError as error:
        raise ShelfcodeError(f"{url!r} is no database: expected sqlite:///path/reviews.sqlite or postgresql://user@host/name") from error
    if address.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ShelfcodeError(f"a review store is kept in SQLite or PostgreSQL, not in {address.drivername}: sqlite:///path/reviews.sqlite")
    if address.get_backend_name() == "sqlite" and address.database in (None, "", ":memory:"):
        raise ShelfcodeError(f"{url!r} names no file: decisions would be lost with the process; expected sqlite:///path/reviews.sqlite")
    return address


def _make_folder(address: sa.URL) -> None:
    folder = Path(str(address.database)).expanduser().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShelfcodeError(f"cannot make the folder of the review store {address.database}: {error}") from error


def _engine(address: sa.URL) -> sa.Engine:
    try:
        if address.get_backend_name() == "postgresql":
            arguments = {"connect_timeout": "5", "application_name": "shelfcode", **address.query}
            return sa.create_engine(address, pool_pre_ping=True, pool_size=CONNECTIONS, max_overflow=CONNECTIONS, connect_args=arguments)
    except NoSuchModuleError as error:
        raise ShelfcodeError(f"PostgreSQL needs psycopg: {error}") from error
    engine = sa.create_engine(
        address.set(database=str(Path(str(address.database)).expanduser().absolute())),
        pool_size=CONNECTIONS, max_overflow=CONNECTIONS, connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False},
    )  # fmt: skip
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin_sqlite says, not where Python's driver guesses
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA journal_size_limit=67108864")  # taking in an audit makes a large one, which would stay
    cursor.execute("PRAGMA cache_size=-65536")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _passes(error: BaseException) -> bool:
    """Whether the same transaction may well succeed when it is run again."""
    if not isinstance(error, DBAPIError) or isinstance(error.orig, sqlite3.Error):
        return False
    code = getattr(error.orig, "sqlstate", None)
    lost = code is None and isinstance(error, OperationalError)
    return error.connection_invalidated or lost or code in _PASSING or str(code).startswith("08")


def _told(address: sa.URL, error: DBAPIError) -> str:
    """What to do about a database that cannot be used."""
    url, reason = address.render_as_string(hide_password=True), str(error.orig).strip().splitlines()[0]
    if "does not exist" in reason and address.get_backend_name() == "postgresql":
        return f"cannot open the review store {url}: {reason}. Make it first: createdb {address.database}"
    if "not a database" in reason:
        return f"{address.database} is no SQLite database: name another file for the review store"
    if "locked" in reason:
        return f"the review store {url} was locked by another process for {LOCK_SECONDS} s: {reason}; see which one holds it, and try again"
    advice = "is the folder there, and may this user write to it?" if address.get_backend_name() == "sqlite" else "does the server run?"
    return f"cannot use the review store {url}: {reason}; {advice}"
