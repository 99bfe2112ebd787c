"""Typed tables in place of one table of records."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from gridsecure.store.old_records import OldRecords, create_evidence, old_records
from gridsecure.store.rows import Moment

revision, down_revision = "registrations_0001", None

Rows = list[dict[str, Any]]


def upgrade() -> None:
    """Create the tables and move what there is."""
    create_evidence(op.get_bind())
    tables = {table.name: table for table in (*_pseudonyms(), *_leaves(), *_used())}
    with old_records(op.get_bind()) as old:
        registrations, carried = _registrations(old)
        batches, leaves = _batches(old)
        for name, rows in (
            ("registration", registrations),
            ("carried", carried),
            ("registration_leaves", batches),
            ("registration_leaf", leaves),
            ("spent_grant", _spent(old)),
            ("challenge", _challenges(old)),
        ):
            if rows:
                op.bulk_insert(tables[name], rows)


# --- tables


def _text(name: str, *more: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), *more, nullable=options.pop("nullable", False), **options)


def _at(name: str = "at", **options: Any) -> sa.Column[Any]:
    return sa.Column(name, Moment(), nullable=False, **options)


def _bytes(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _pseudonyms() -> Iterator[sa.Table]:
    subject = "registration.subject"
    yield op.create_table(
        "registration",
        _text("subject", primary_key=True),
        _text("domain"),
        _bytes("nym"),
        _bytes("holder"),
        _bytes("escrow"),
        _text("role"),
        _text("settlement", sa.ForeignKey(subject), nullable=True, index=True),
        _text("zone"),
        _text("customer_class"),
        sa.Column("counted", sa.Boolean(), nullable=False),
        _text("owner"),
        _text("state", index=True),
        _at(),
    )
    yield op.create_table(
        "carried",
        _text("subject", sa.ForeignKey(subject), primary_key=True),
        sa.Column("place", sa.Integer(), primary_key=True, nullable=False),
        _text("earlier", sa.ForeignKey(subject)),
    )


def _leaves() -> Iterator[sa.Table]:
    yield op.create_table(
        "registration_leaves", _text("entry", primary_key=True), _text("digest"), _at()
    )
    yield op.create_table(
        "registration_leaf",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        _text("entry", sa.ForeignKey("registration_leaves.entry"), index=True),
        _text("leaf", index=True),
    )


def _used() -> Iterator[sa.Table]:
    yield op.create_table("spent_grant", _text("tag", primary_key=True), _text("digest"), _at())
    yield op.create_table(
        "challenge",
        _text("value", primary_key=True),
        _text("owner"),
        _text("state"),
        _at("expires_at", index=True),
    )


# --- rows


def _registrations(old: OldRecords) -> tuple[Rows, Rows]:
    rows: Rows = []
    carried: Rows = []
    for item in old.take("registration"):
        said = json.loads(item.text)
        rows.append(
            {
                "subject": item.name,
                "domain": said["domain"],
                **{name: bytes.fromhex(said[name]) for name in ("nym", "holder", "escrow")},
                "role": said["role"],
                "settlement": said["settlement"] or None,
                **{name: said["facts"][name] for name in ("zone", "customer_class")},
                **{name: said["facts"][name] for name in ("counted", "owner")},
                "state": item.state,
                "at": item.at,
            }
        )
        carried += [
            {"subject": item.name, "place": place, "earlier": earlier}
            for place, earlier in enumerate(said["carried"])
        ]
    # A settlement pseudonym is there before who refers to it.
    return sorted(rows, key=lambda row: row["settlement"] is not None), carried


def _batches(old: OldRecords) -> tuple[Rows, Rows]:
    batches: Rows = []
    leaves: Rows = []
    for item in old.take("registration-leaves"):
        batches.append({"entry": item.name, "digest": item.digest, "at": item.at})
        leaves += [{"entry": item.name, "leaf": leaf} for leaf in json.loads(item.text)]
    return batches, leaves


def _spent(old: OldRecords) -> Rows:
    return [
        {"tag": item.name, "digest": item.digest, "at": item.at} for item in old.take("spent-grant")
    ]


def _challenges(old: OldRecords) -> Rows:
    return [
        {
            "value": item.name,
            "owner": item.digest,
            "state": item.state,
            "expires_at": datetime.fromisoformat(item.text),
        }
        for item in old.take("challenge")
    ]
