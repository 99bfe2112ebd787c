"""Typed tables in place of one table of records."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from gridsecure.store.old_records import OldRecords, create_evidence, old_records
from gridsecure.store.rows import Moment

revision, down_revision = "enrolments_0001", None

Rows = list[dict[str, Any]]


def upgrade() -> None:
    """Create the tables and move what there is."""
    create_evidence(op.get_bind())
    _books()
    tables = {table.name: table for table in (*_keys(), *_facts(), *_used())}
    with old_records(op.get_bind()) as old:
        for _ in old.take("rekeyed"):
            pass  # how often a key was replaced, its newest generation says
        for name, rows in (
            ("enrolment", _enrolments(old)),
            ("credential", _credentials(old)),
            ("certified", _certified(old)),
            ("counted", _counted(old)),
            ("blocked", _blocked(old)),
            ("rekey_order", _orders(old)),
            ("login", _logins(old)),
            ("enrolment_session", _sessions(old)),
        ):
            if rows:
                op.bulk_insert(tables[name], rows)


# --- tables


def _text(name: str, *more: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), *more, nullable=options.pop("nullable", False), **options)


def _at(name: str = "at", **options: Any) -> sa.Column[Any]:
    return sa.Column(name, Moment(), nullable=False, **options)


def _number(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False, **options)


def _fact_columns() -> tuple[sa.Column[Any], ...]:
    return _text("zone"), _text("customer_class")


def _books() -> None:
    """The books were typed before; an index of theirs answered no question."""
    if sa.inspect(op.get_bind()).has_table("account"):
        op.drop_index("ix_account_gateway", "account", if_exists=True)
        return
    op.create_table(
        "account",
        _text("meter_point_id", primary_key=True),
        _text("gateway"),
        _text("name"),
        _text("address"),
        _text("customer_id"),
        *_fact_columns(),
    )
    op.create_table("gateway_owner", _text("gateway", primary_key=True), _text("owner"))


def _keys() -> Iterator[sa.Table]:
    yield op.create_table(
        "enrolment",
        _number("id", primary_key=True),
        _text("identity"),
        _number("generation"),
        _text("key", nullable=True, unique=True),
        _at(),
        sa.UniqueConstraint("identity", "generation"),
    )
    yield op.create_table(
        "credential",
        _text("name", primary_key=True),
        _text("identity"),
        _number("generation"),
        _text("role"),
        _text("period"),
        _text("digest"),
        _at(),
        sa.ForeignKeyConstraint(
            ["identity", "generation"], ["enrolment.identity", "enrolment.generation"]
        ),
    )
    yield op.create_table("rekey_order", _text("digest", primary_key=True), _text("orders"), _at())
    yield op.create_table(
        "blocked",
        _text("identity", primary_key=True),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        _text("reference"),
        _at(),
    )


def _facts() -> Iterator[sa.Table]:
    yield op.create_table(
        "certified",
        _text("credential", sa.ForeignKey("credential.name"), primary_key=True),
        *_fact_columns(),
        sa.Column("counted", sa.Boolean(), nullable=False),
        _text("owner"),
        _at(),
    )
    yield op.create_table(
        "counted",
        _text("place", primary_key=True),
        _text("period"),
        *_fact_columns(),
        _text("meter_point_id", index=True),
        _text("credential", sa.ForeignKey("credential.name")),
        _at(),
    )


def _used() -> Iterator[sa.Table]:
    yield op.create_table(
        "login",
        _text("kind", primary_key=True),
        _text("signer", primary_key=True),
        _text("nonce", primary_key=True),
        _text("digest"),
        _at(index=True),
    )
    yield op.create_table(
        "enrolment_session",
        _text("value", primary_key=True),
        _text("owner"),
        _text("state"),
        _at("expires_at", index=True),
    )


# --- rows


def _enrolments(old: OldRecords) -> Rows:
    rows: Rows = []
    for item in old.take("enrolment"):
        # The scope was the identity, or `generation N of` it; the text always the identity.
        generation = 0 if item.scope == item.text else int(item.scope.split(" ", 2)[1])
        key = None if item.name.startswith("hidden/") else item.name
        rows.append({"identity": item.text, "generation": generation, "key": key, "at": item.at})
    return rows


def _credentials(old: OldRecords) -> Rows:
    rows: Rows = []
    for item in old.take("credential"):
        identity, role, period, *generation = _parts(item.name)
        rows.append(
            {
                "name": item.name,
                "identity": identity,
                "generation": int(generation[0]) if generation else 0,
                "role": role,
                "period": period,
                "digest": item.digest,
                "at": item.at,
            }
        )
    return rows


def _parts(name: str) -> list[str]:
    """The texts that a credential's name frames, each after its length in four bytes."""
    data, parts = bytes.fromhex(name), []
    while data:
        length = int.from_bytes(data[:4], "big")
        parts.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    return parts


def _certified(old: OldRecords) -> Rows:
    rows: Rows = []
    for item in old.take("certified"):
        said = json.loads(item.text)
        facts = {name: said[name] for name in ("zone", "customer_class", "counted", "owner")}
        rows.append({"credential": item.name, **facts, "at": item.at})
    return rows


def _counted(old: OldRecords) -> Rows:
    rows: Rows = []
    for item in old.take("counted"):
        credential, period, zone, customer_class = json.loads(item.text)
        rows.append(
            {
                "place": item.name,
                "period": period,
                "zone": zone,
                "customer_class": customer_class,
                "meter_point_id": item.state,
                "credential": credential,
                "at": item.at,
            }
        )
    return rows


def _blocked(old: OldRecords) -> Rows:
    rows: Rows = []
    for item in old.take("blocked"):
        said = json.loads(item.text)
        key, reference = bytes.fromhex(said["key"]), said["reference"]
        rows.append({"identity": item.name, "key": key, "reference": reference, "at": item.at})
    return rows


def _orders(old: OldRecords) -> Rows:
    return [
        {"digest": item.name, "orders": item.text, "at": item.at}
        for item in old.take("rekey-order")
    ]


def _logins(old: OldRecords) -> Rows:
    rows: Rows = []
    for kind in ("person-login", "service-login"):
        for item in old.take(kind):
            signer, nonce = item.name.split("/")
            row = {"kind": kind, "signer": signer, "nonce": nonce, "digest": item.digest}
            rows.append({**row, "at": item.at})
    return rows


def _sessions(old: OldRecords) -> Rows:
    return [
        {
            "value": item.name,
            "owner": item.digest,
            "state": item.state,
            "expires_at": datetime.fromisoformat(item.text),
        }
        for item in old.take("enrolment-session")
    ]
