"""Changes that were asked for, by their idempotency key: what was done once is not done again, and a key stands for one content."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from shelfcode.audit.decisions.database import Database
from shelfcode.audit.decisions.tables import REQUESTS
from shelfcode.errors import ShelfcodeError

LONGEST_KEY = 200


def once(
    database: Database, connection: sa.Connection, key: str, content: object, now: datetime, work: Callable[[], Any]
) -> tuple[Any, bool]:
    """Do something unless it was done under this key before.

    Two transactions with one key wait for each other: the second sees what the first did.

    Args:
        content: what is asked for; the same key with other content is refused.
        work: its result is kept as JSON.

    Returns:
        The result, as it was the first time; and whether this was that time.

    Raises:
        ShelfcodeError: the key was used for something else, or is none.
    """
    if not key or len(key) > LONGEST_KEY or not key.isprintable():
        raise ShelfcodeError(f"idempotency_key {key[:50]!r}: expected 1 to {LONGEST_KEY} printable characters, such as a random UUID")
    digest = hashlib.blake2b(msgspec.json.encode(content), digest_size=16).hexdigest()
    row = {"idempotency_key": key, "digest": digest, "at": now}
    added = connection.execute(database.insert(REQUESTS).values(row).on_conflict_do_nothing().returning(REQUESTS.c.digest)).first()
    same = REQUESTS.c.idempotency_key == key
    if added is None:
        known = connection.execute(sa.select(REQUESTS.c.digest, REQUESTS.c.answer).where(same)).one()
        if known.digest != digest:
            raise ShelfcodeError(f"idempotency_key {key!r} was used for another change already: choose a new one for each")
        return msgspec.json.decode(known.answer), False
    answer = work()
    connection.execute(REQUESTS.update().where(same).values(answer=msgspec.json.encode(answer).decode()))
    return answer, True
