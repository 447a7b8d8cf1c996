"""Opening, migrating and outliving a database."""

import multiprocessing
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from postgres_server import PostgresServer

from shelfcode.audit.decisions import database
from shelfcode.audit.decisions.database import open_database
from shelfcode.audit.decisions.decision import Decision
from shelfcode.audit.decisions.desk import Desk, open_desk
from shelfcode.audit.decisions.tables import METADATA
from shelfcode.errors import ShelfcodeError

REVIEWER = """
import sys, uuid
from shelfcode.audit.decisions.decision import Decision
from shelfcode.audit.decisions.desk import open_desk
sys.stdin.readline()
desk, audit, name = open_desk(sys.argv[1]), sys.argv[2], sys.argv[3]
while cards := desk.next(audit, name):
    decided = desk.decide(audit, name, Decision(cards[0].finding_id, "keep", cards[0].version, uuid.uuid4().hex))
    print(decided.decisions[-1].event_id, flush=True)
"""
"""A process that waits for its turn, and says of each decision that it was acknowledged."""


def test_the_migrations_make_the_tables_that_the_code_knows(store_url: str) -> None:
    opened = open_database(store_url)
    with opened.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "schema_version"})
        assert compare_metadata(context, METADATA) == []
    opened.close()
    open_database(store_url).close()


def test_several_that_migrate_at_once_make_the_tables_once(store_url: str) -> None:
    context = multiprocessing.get_context("fork")
    openers = [context.Process(target=_open, args=(store_url,)) for _ in range(3)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
    assert [opener.exitcode for opener in openers] == [0, 0, 0]


def _open(url: str) -> None:
    open_database(url).close()


def test_tables_of_a_newer_version_are_left_alone(store_url: str) -> None:
    opened = open_database(store_url)
    with opened.engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version_num = '9999'"))
    opened.close()
    with pytest.raises(ShelfcodeError, match=r"tables of version 9999, and this version of shelfcode knows 0001: install a newer one"):
        open_database(store_url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://localhost/x", "SQLite or PostgreSQL, not in mysql"),
        ("sqlite:////proc/none/reviews.sqlite", "cannot make the folder of the review store"),
        ("postgresql://nobody:secret@127.0.0.1:1/reviews", "does the server run"),
    ],
)
def test_what_cannot_be_opened_is_told_without_the_password(url: str, told: str) -> None:
    with pytest.raises(ShelfcodeError, match=told) as refused:
        open_desk(url)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "catalog.csv"
    file.write_text("item_id,title\n" * 100)
    with pytest.raises(ShelfcodeError, match="no SQLite database"):
        open_desk(str(file))
    assert file.read_text() == "item_id,title\n" * 100


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_kill_9_of_the_deciding_process_loses_no_acknowledged_decision(desk: Desk, audit: str) -> None:
    url, acknowledged = str(desk.database.engine.url), []
    children = [  # together, since what takes long is their imports
        subprocess.Popen([sys.executable, "-c", REVIEWER, url, audit, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("anna", "ben")
    ]
    for child in children:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("begin\n")
        child.stdin.flush()
        acknowledged += [int(child.stdout.readline()) for _ in range(4)]
        child.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in child.stdout.read().splitlines()]
        child.wait()
    kept = {event.event_id for event in desk.history(audit, limit=1000) if event.kind == "decision"}
    assert len(acknowledged) >= 8
    assert set(acknowledged) <= kept
    assert desk.verify(audit) == []


def test_a_server_that_was_killed_and_came_back_is_used_again(
    postgres: PostgresServer, prepared: Callable[[str], str], audit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(postgres.new_database(prepared("postgres")))
    card = desk.next(audit, "anna")[0]
    decision = Decision(card.finding_id, "keep", card.version, uuid.uuid4().hex)
    decided = desk.decide(audit, "anna", decision)
    postgres.crash()
    monkeypatch.setattr(database, "PATIENCE", 0.2)
    with pytest.raises(ShelfcodeError, match="does the server run"):
        desk.finding(audit, card.finding_id)
    monkeypatch.undo()
    postgres.start()
    assert desk.decide(audit, "anna", decision) == decided
    assert len(desk.finding(audit, card.finding_id).decisions) == 1
    desk.close()
