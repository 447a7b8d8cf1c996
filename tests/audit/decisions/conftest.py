"""A planted audit, and a desk over it in SQLite and in a real PostgreSQL server."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from compiled_once import open_compiled
from planted_audit import PlantedAudit, plant_audit
from postgres_server import PostgresServer, find_binaries, postgres_server

from shelfcode.audit.decisions.answers import ReviewSettings
from shelfcode.audit.decisions.decision import Card, Decision, Verdict
from shelfcode.audit.decisions.desk import Desk, open_desk
from shelfcode.workspace import Workspace

Prepared = Callable[[str], str]


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_minutes(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (Debian's package postgresql)")
    with postgres_server(binaries, careless=True) as server:
        yield server


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(str(tmp_path_factory.mktemp("audited")))


@pytest.fixture(scope="session")
def planted(workspace: Workspace) -> PlantedAudit:
    """An audit with 60 findings."""
    return plant_audit(workspace, findings=60)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def prepared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, workspace: Workspace, planted: PlantedAudit
) -> Prepared:
    """Makes a store with the planted audit once for each kind of database: the URL of what is to be copied."""

    @cache
    def prepare(kind: str) -> str:
        server: PostgresServer = request.getfixturevalue("postgres") if kind == "postgres" else None
        url = server.new_database() if server else f"sqlite:///{tmp_path_factory.mktemp('prepared')}/reviews.sqlite"
        desk = open_desk(url)
        desk.take_in(workspace, planted.manifest.audit)
        desk.set_review_settings(planted.manifest.audit, ReviewSettings(second_review_share=0.0, random_share=0.0))
        desk.close()
        return url

    return prepare


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A review store that nobody used before: an empty one, or for tests of a desk a copy of the one that is prepared."""
    like = request.getfixturevalue("prepared")(request.param) if "desk" in request.fixturenames else None
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.new_database(like)
    file = f"{tmp_path}/reviews.sqlite"
    if like:
        shutil.copy(like.removeprefix("sqlite:///"), file)
    return f"sqlite:///{file}"


@pytest.fixture
def desk(store_url: str, clock: Clock) -> Iterator[Desk]:
    """A desk with the planted audit; nothing is drawn by chance, and one opinion is enough."""
    opened = open_compiled(store_url)
    opened.clock = clock
    yield opened
    opened.close()


@pytest.fixture
def audit(planted: PlantedAudit) -> str:
    return planted.manifest.audit


Decide = Callable[..., Decision]


@pytest.fixture
def say() -> Decide:
    """Makes a decision about a card, with a key of its own."""

    def make(card: Card, verdict: Verdict = "keep", path: tuple[str, ...] | None = None, **fields: object) -> Decision:
        key = str(fields.pop("idempotency_key", uuid.uuid4().hex))
        return Decision(card.finding_id, verdict, card.version, key, path, arm=card.arm, batch=card.batch, **fields)  # type: ignore[arg-type]

    return make
