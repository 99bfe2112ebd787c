"""The registry where the database is slow or broken: told apart from a lost race."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from gridsecure.compute.holder_uploads import Upload
from gridsecure.errors import ConflictError, StorageError
from gridsecure.identity.enrolments.enrolled_keys import Enrolment, keep_enrolments
from gridsecure.store import rows
from gridsecure.store.database import open_database, write_session
from tests.identity.identity_world import METER, NOW, database


def failing(cause: Exception, times: int, original):
    """`keep`, but the database answers an error first."""
    left = [times]

    def keep(session, row):
        if left[0]:
            left[0] -= 1
            raise cause
        return original(session, row)

    return keep


@pytest.fixture
def engine(tmp_path):
    made = database(tmp_path, "enrolments")
    yield made
    made.dispose()


def enrol(engine, key: bytes) -> None:
    with write_session(engine) as session:
        (refused,) = keep_enrolments(session, [Enrolment("customer 1", METER, key)], now=NOW)
    if refused:
        raise refused


def test_a_race_lost_to_the_unique_index_is_looked_at_again(engine, monkeypatch):
    enrol(engine, b"first")
    lost = IntegrityError("insert", {}, Exception("unique"))
    keep = rows.keep
    # looked before the other had written: the database's own index tells
    monkeypatch.setattr(rows, "_find_clashing", lambda *_: {})
    with pytest.raises(ConflictError, match=r"conflict\.enrolment"):
        enrol(engine, b"second")
    monkeypatch.setattr(rows, "keep", failing(lost, 1, keep))
    with pytest.raises(ConflictError, match=r"conflict\.enrolment"):
        enrol(engine, b"second")
    monkeypatch.setattr(rows, "keep", failing(lost, 2, keep))
    with pytest.raises(StorageError, match=r"storage\.busy"):
        enrol(engine, b"second")


def test_a_missing_table_is_no_lost_race(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(StorageError, match=r"storage\.database"):
        enrol(engine, b"first")
    engine.dispose()


def test_an_upload_shows_no_token():
    shown = repr(Upload("PUT", "/x", "secret-token", 4, b""))
    assert (shown, "secret" in shown) == ("Upload(PUT /x, counter=4)", False)
