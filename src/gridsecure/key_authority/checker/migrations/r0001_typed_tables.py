"""Typed tables in place of one table of records."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from gridsecure.store.old_records import OldRecord, OldRecords, create_evidence, old_records
from gridsecure.store.rows import Moment

revision, down_revision = "checker_0001", None

Rows = Iterator[dict[str, Any]]

_VERSION_TEXTS = ("first", "upload", "roster", "roster_id", "tariff", "transcript", "outputs")
_VERSION_NUMBERS = ("revision", "plan_version", "slots", "corrected")


def upgrade() -> None:
    """Create the tables and move what there is."""
    create_evidence(op.get_bind())
    tables = {table.name: table for table in _tables()}
    with old_records(op.get_bind()) as old:
        claims = list(old.take("claim"))
        cohorts, sets = list(old.take("cohort")), list(old.take("told-set"))
        for name, rows in (
            ("key_set", _key_sets(old)),
            ("key_revocation", (_as_signed(i) | {"key_id": i.name}
                                for i in old.take("key-revocation"))),
            ("closing", _closings(old)),
            ("release", _releases(old)),
            ("released_transcript", _transcripts()),
            ("bill_version", _versions(old)),
            ("seed", ({"seed": i.name, "transcript": i.digest, "at": i.at}
                      for i in claims if i.name.startswith("seed/"))),
            ("claim", ({"claim": i.name, "transcript": i.digest, "release_id": i.text, "at": i.at}
                       for i in claims if not i.name.startswith("seed/"))),
            ("cohort", _cohorts(cohorts)),
            ("cohort_member", ({"pseudonym": pseudonym, "upload": i.name} for i in cohorts
                               for pseudonym in json.loads(i.text)["pseudonyms"])),
            ("told_set", _sets(sets)),
            ("told_member", _members(sets)),
            ("query_grant", ({"request_id": i.name, "token": i.scope, "used": i.digest,
                              "at": datetime.fromisoformat(i.text)}
                             for i in old.take("query-grant"))),
        ):  # fmt: skip
            for row in rows:  # one after the other: some are large, some refer to the one before
                op.bulk_insert(tables[name], [row])


# --- tables


def _tables() -> Iterator[sa.Table]:
    for create in (_key_tables, _released, _ledger, _told):
        yield from create()


def _text(name: str, *more: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), *more, nullable=options.pop("nullable", False), **options)


def _at(name: str = "at", **options: Any) -> sa.Column[Any]:
    return sa.Column(name, Moment(), nullable=False, **options)


def _number(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False, **options)


def _signed() -> tuple[sa.Column[Any], ...]:
    return _text("digest", unique=True), _text("message"), _at()


def _of_a_release() -> sa.Column[Any]:
    late = sa.ForeignKey("release.release_id", deferrable=True, initially="DEFERRED")
    return _text("release_id", late)


def _key_tables() -> Iterator[sa.Table]:
    yield op.create_table(
        "key_set",
        *_signed(),
        _number("id", primary_key=True),
        _text("key_id", unique=True),
        _text("gateway"),
        _text("parameters"),
        _number("generation"),
        _text("state"),
        sa.UniqueConstraint("gateway", "parameters", "generation"),
    )
    key_id = _text("key_id", sa.ForeignKey("key_set.key_id"), primary_key=True)
    yield op.create_table("key_revocation", *_signed(), key_id)


def _released() -> Iterator[sa.Table]:
    yield op.create_table(
        "closing",
        _text("message"),
        _at(),
        _text("digest", primary_key=True),
        _text("start"),
        _text("end"),
        _number("number"),
        sa.UniqueConstraint("start", "end", "number"),
    )
    yield op.create_table(
        "release",
        *_signed(),
        _number("id", primary_key=True),
        _text("release_id", unique=True),
        _text("plan"),
        _text("purpose"),
        _text("requested_by"),
    )
    op.create_index("ix_release_asked", "release", ["requested_by", "purpose"])
    yield op.create_table(
        "released_transcript",
        _text("transcript", primary_key=True),
        _text("release_id", sa.ForeignKey("release.release_id"), primary_key=True),
    )
    yield op.create_table(
        "bill_version",
        _number("id", primary_key=True),
        *(_text(name, unique=name == "upload" or None) for name in _VERSION_TEXTS),
        _text("corrects", nullable=True),
        *(_text(name) for name in ("start", "end")),
        *(_number(name) for name in _VERSION_NUMBERS),
        _of_a_release(),
        _at(),
        sa.UniqueConstraint("first", "revision"),
    )


def _ledger() -> Iterator[sa.Table]:
    yield op.create_table("seed", _text("seed", primary_key=True), _text("transcript"), _at())
    yield op.create_table(
        "claim", _text("claim", primary_key=True), _text("transcript"), _of_a_release(), _at()
    )
    yield op.create_table(
        "cohort",
        _text("upload", primary_key=True),
        _text("domain"),
        _at("start_at"),
        _at("end_at"),
        _at(),
    )
    yield op.create_table(
        "cohort_member",
        _text("pseudonym", primary_key=True),
        _text("upload", sa.ForeignKey("cohort.upload"), primary_key=True),
    )


def _told() -> Iterator[sa.Table]:
    yield op.create_table(
        "told_set",
        _text("name", primary_key=True),
        _text("domain"),
        _at("start_at"),
        _at("end_at"),
        _text("zone"),
        _text("customer_class"),
        _at(),
    )
    op.create_index("ix_told_set_period", "told_set", ["domain", "start_at", "end_at"])
    yield op.create_table(
        "told_member",
        _text("told_set", sa.ForeignKey("told_set.name"), primary_key=True),
        _text("name", primary_key=True),
        _text("owner"),
        sa.Column("counts", sa.Boolean(), nullable=False),
    )
    yield op.create_table(
        "query_grant",
        _text("request_id", primary_key=True),
        _text("token", unique=True),
        _text("used"),
        _at(),
    )


# --- rows


def _body(message: str) -> dict[str, Any]:
    """What a signed message says."""
    found: dict[str, Any] = json.loads(json.loads(message)["body"])
    return found


def _as_signed(item: OldRecord) -> dict[str, Any]:
    return {"digest": item.digest, "message": item.text, "at": item.at}


def _key_sets(old: OldRecords) -> Rows:
    for item in old.take("key-set"):
        said = _body(item.text)
        place = {name: said[name] for name in ("gateway", "parameters", "generation")}
        yield _as_signed(item) | place | {"key_id": item.name, "state": item.state}


def _closings(old: OldRecords) -> Rows:
    for item in old.take("closing"):
        said = _body(item.text)
        yield _as_signed(item) | {name: said[name] for name in ("start", "end", "number")}


def _releases(old: OldRecords) -> Rows:
    for item in old.take("release"):
        said = _body(item.text)
        asked = {name: said[name] for name in ("plan", "purpose", "requested_by")}
        yield _as_signed(item) | asked | {"release_id": item.name}


def _transcripts() -> Rows:
    found = op.get_bind().execute(sa.text("SELECT release_id, message FROM release"))
    for release_id, message in found.fetchall():
        for transcript in dict.fromkeys(_body(message)["transcripts"]):
            yield {"transcript": transcript, "release_id": release_id}


def _versions(old: OldRecords) -> Rows:
    for item in old.take("bill-version"):
        yield json.loads(item.text) | {"at": item.at}


def _cohorts(cohorts: list[OldRecord]) -> Rows:
    for item in cohorts:
        said = json.loads(item.text)
        start, end = (datetime.fromisoformat(said[name]) for name in ("start", "end"))
        yield {
            "upload": item.name,
            "domain": item.state,
            "start_at": start.astimezone(UTC),
            "end_at": end.astimezone(UTC),
            "at": item.at,
        }


def _sets(sets: list[OldRecord]) -> Rows:
    for item in sets:
        domain, start, end = item.state.rsplit("/", 2)
        said = json.loads(item.text)
        yield {
            "name": item.name,
            "domain": domain,
            "start_at": datetime.fromisoformat(start),
            "end_at": datetime.fromisoformat(end),
            "zone": said["zone"],
            "customer_class": said["customer_class"],
            "at": item.at,
        }


def _members(sets: list[OldRecord]) -> Rows:
    for item in sets:
        for name, owner, counts in json.loads(item.text)["members"]:
            yield {"told_set": item.name, "name": name, "owner": owner, "counts": counts}
