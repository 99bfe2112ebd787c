"""Typed tables in place of one table of records."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from gridsecure.store.old_records import OldRecord, OldRecords, create_evidence, old_records
from gridsecure.store.rows import Moment

revision, down_revision = "gateway_0001", None

Rows = Iterator[dict[str, Any]]


def upgrade() -> None:
    """Create the tables and move what there is."""
    create_evidence(op.get_bind())
    tables = {table.name: table for table in (*_holders(), *_outbox(), *_months())}
    with old_records(op.get_bind()) as old:
        for name, rows in (
            ("agent", _agents(old)),
            ("gateway_agent", _gateway_agents(old)),
            ("credential", _credentials(old)),
            ("identity_keys", _identity_keys(old)),
            ("key_set", _signed(old, "key-set", "key_id")),
            ("roster", _signed(old, "roster", "roster_id")),
            ("upload", _uploads(old)),
            ("month_plan", _month_plans(old)),
            ("month_report", ({"month": i.name} | _document(i) for i in old.take("month-report"))),
            ("correction_plan", _correction_plans(old)),
            ("correction_report", _correction_reports(old)),
        ):
            for row in rows:
                op.bulk_insert(tables[name], [row])


# --- tables


def _text(name: str, *more: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), *more, nullable=False, **options)


def _number(name: str, kind: Any = sa.Integer, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind(), nullable=False, **options)


def _at() -> sa.Column[Any]:
    return sa.Column("at", Moment(), nullable=False)


def _facts_columns() -> tuple[sa.Column[Any], ...]:
    counted: sa.Column[Any] = sa.Column("counted", sa.Boolean(), nullable=False)
    return _text("zone"), _text("customer_class"), counted, _text("owner"), _at()


def _holders() -> Iterator[sa.Table]:
    yield op.create_table(
        "agent",
        _text("period", primary_key=True),
        _text("meter_point_id", primary_key=True),
        _text("billing"),
        _text("settlement"),
        *_facts_columns(),
    )
    yield op.create_table(
        "gateway_agent", _text("period", primary_key=True), _text("subject"), *_facts_columns()
    )
    yield op.create_table(
        "credential",
        _text("period", primary_key=True),
        _text("identity", primary_key=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        *_facts_columns(),
    )
    yield op.create_table(
        "identity_keys",
        _number("number", primary_key=True, autoincrement=False),
        _text("digest"),
        _text("statements"),
        _at(),
    )


def _outbox() -> Iterator[sa.Table]:
    yield op.create_table(
        "key_set", _text("key_id", primary_key=True), _text("digest"), _text("message"), _at()
    )
    yield op.create_table(
        "roster", _text("roster_id", primary_key=True), _text("digest"), _text("message"), _at()
    )
    yield op.create_table(
        "upload",
        _text("name", primary_key=True),
        _text("roster_id", sa.ForeignKey("roster.roster_id")),
        _text("gateway_id"),
        _number("sequence", sa.BigInteger),
        _text("state"),
        _text("digest"),
        _text("message"),
        _at(),
        sa.UniqueConstraint("gateway_id", "sequence"),
    )


def _months() -> Iterator[sa.Table]:
    yield op.create_table(
        "month_plan",
        _text("month", primary_key=True),
        _number("number", primary_key=True),
        _text("digest"),
        _text("document"),
        _at(),
    )
    yield op.create_table(
        "month_report",
        _text("month", primary_key=True),
        _text("digest"),
        _text("document"),
        _at(),
    )
    yield op.create_table(
        "correction_plan",
        _text("name", primary_key=True),
        _text("month"),
        _number("number"),
        _text("digest"),
        _text("document"),
        _at(),
        sa.UniqueConstraint("month", "number"),
    )
    yield op.create_table(
        "correction_report",
        _text("name", sa.ForeignKey("correction_plan.name"), primary_key=True),
        *(_number(name) for name in ("corrected", "rosters", "columns")),
        _number("bytes_uploaded", sa.BigInteger),
        _number("late"),
        _at(),
    )


# --- rows


def _facts(said: dict[str, Any]) -> dict[str, Any]:
    return {name: said[name] for name in ("zone", "customer_class", "counted", "owner")}


def _agents(old: OldRecords) -> Rows:
    for item in old.take("agent"):
        said = json.loads(item.text)
        billing, settlement = said["subjects"]
        yield {
            "period": item.state,
            "meter_point_id": item.name.removeprefix(f"{item.state}/"),
            "billing": billing,
            "settlement": settlement,
            "at": item.at,
        } | _facts(said["facts"])


def _gateway_agents(old: OldRecords) -> Rows:
    for item in old.take("gateway-agent"):
        said = json.loads(item.text)
        (subject,) = said["subjects"]
        facts = _facts(said["facts"])
        yield {"period": item.name, "subject": subject, "at": item.at} | facts


def _credentials(old: OldRecords) -> Rows:
    for item in old.take("credential"):
        said = json.loads(item.text)
        yield {
            "period": item.state,
            "identity": item.name.removeprefix(f"{item.state}/"),
            "mac": bytes.fromhex(said["mac"]),
            "at": item.at,
        } | _facts(said["facts"])


def _identity_keys(old: OldRecords) -> Rows:
    for item in old.take("identity-keys"):
        yield {"number": 1, "digest": item.digest, "statements": item.text, "at": item.at}


def _signed(old: OldRecords, kind: str, key: str) -> Rows:
    for item in old.take(kind):
        yield {key: item.name, "digest": item.digest, "message": item.text, "at": item.at}


def _uploads(old: OldRecords) -> Rows:
    places = {item.scope: item.name.rsplit("/", 1) for item in old.take("sequence")}
    for item in old.take("upload"):
        gateway, sequence = places[item.name]
        yield {
            "name": item.name,
            "roster_id": json.loads(json.loads(item.text)["body"])["roster_id"],
            "gateway_id": gateway,
            "sequence": int(sequence),
            "state": item.state,
            "digest": item.digest,
            "message": item.text,
            "at": item.at,
        }


def _document(item: OldRecord) -> dict[str, Any]:
    return {"digest": item.digest, "document": item.text, "at": item.at}


def _month_plans(old: OldRecords) -> Rows:
    numbers: Counter[str] = Counter()
    for item in old.take("month-plan"):
        numbers[item.state] += 1
        yield {"month": item.state, "number": numbers[item.state]} | _document(item)


def _correction_plans(old: OldRecords) -> Rows:
    for item in old.take("correction-plan"):
        number = int(item.scope.rpartition("/")[2])
        yield {"name": item.name, "month": item.state, "number": number} | _document(item)


def _correction_reports(old: OldRecords) -> Rows:
    for item in old.take("correction-report"):
        said = json.loads(item.text)
        del said["number"]
        yield {"name": item.name, "at": item.at} | said
