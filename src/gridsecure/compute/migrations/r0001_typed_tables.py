"""Typed tables in place of one table of records."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from gridsecure.store.old_records import OldRecord, OldRecords, create_evidence, old_records
from gridsecure.store.rows import Moment

revision, down_revision = "platform_0001", None

Rows = Iterator[dict[str, Any]]


def upgrade() -> None:
    """Create the tables and move what there is."""
    create_evidence(op.get_bind())
    tables = {table.name: table for table in _tables()}
    with old_records(op.get_bind()) as old:
        for name, rows in (
            ("gateway", _gateways(old)),
            ("holder_pin", ({"subject": i.name, "thumbprint": i.digest, "at": i.at}
                            for i in old.take("holder-pin"))),
            ("upload_counter", ({"subject": i.name, "highest": int(i.state)}
                                for i in old.take("upload-counter"))),
            ("deny_list", ({"sequence": int(i.name), "digest": i.digest, "body": i.text, "at": i.at}
                           for i in old.take("deny-list"))),
            ("key_set", _key_sets(old)),
            ("key_revocation", _named(old, "key-revocation", "key_id")),
            ("roster", _rosters(old)),
            ("upload_sequence", _sequences(old)),
            ("upload", _uploads(old)),
            ("seat", _seats(old)),
            ("billed_members", ({"digest": i.name, "at": i.at} for i in old.take("members"))),
            ("closing", _closings(old)),
            ("job_seed", ({"job": i.name, "seed": bytes.fromhex(i.text), "at": i.at}
                          for i in old.take("seed"))),
            ("transcript", _named(old, "transcript", "job")),
            ("release_request", _requests(old)),
            ("request_upload", _request_uploads()),
            ("run", _runs(old)),
            ("query_grant", ({"grant_id": i.name, "used": i.digest, "at": i.at}
                             for i in old.take("query-grant"))),
        ):  # fmt: skip
            for row in rows:  # one after the other: some are large, some refer to the one before
                op.bulk_insert(tables[name], [row])


# --- tables


def _tables() -> Iterator[sa.Table]:
    for create in (_senders, _uploaded, _taken, _computed, _ordered):
        yield from create()


def _text(name: str, *more: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), *more, nullable=options.pop("nullable", False), **options)


def _at(name: str = "at", **options: Any) -> sa.Column[Any]:
    return sa.Column(name, Moment(), nullable=False, **options)


def _number(name: str, kind: Any = sa.Integer, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind(), nullable=False, **options)


def _signed() -> tuple[sa.Column[Any], ...]:
    return _text("digest", unique=True), _text("message"), _at()


def _senders() -> Iterator[sa.Table]:
    yield op.create_table(
        "gateway",
        _text("thumbprint", primary_key=True),
        _text("subject", unique=True),
        sa.Column("point", sa.LargeBinary(), nullable=False),
        _at(),
    )
    yield op.create_table(
        "holder_pin", _text("subject", primary_key=True), _text("thumbprint"), _at()
    )
    yield op.create_table(
        "upload_counter", _text("subject", primary_key=True), _number("highest", sa.BigInteger)
    )
    yield op.create_table(
        "deny_list",
        _number("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        _text("digest"),
        _text("body"),
        _at(),
    )
    yield op.create_table(
        "key_set",
        *_signed(),
        _text("key_id", primary_key=True),
        _text("gateway_id"),
        _text("parameters"),
        _number("generation"),
        sa.UniqueConstraint("gateway_id", "parameters", "generation"),
    )
    yield op.create_table("key_revocation", *_signed(), _text("key_id", primary_key=True))


def _uploaded() -> Iterator[sa.Table]:
    yield op.create_table(
        "roster",
        *_signed(),
        _text("roster_id", primary_key=True),
        _text("gateway_id", sa.ForeignKey("gateway.thumbprint")),
    )
    yield op.create_table(
        "upload_sequence",
        _text("gateway_id", primary_key=True),
        _number("sequence", sa.BigInteger, primary_key=True),
        _text("digest"),
        _at(),
    )
    yield op.create_table(
        "upload",
        *_signed(),
        _number("id", primary_key=True),
        _text("roster_id", sa.ForeignKey("roster.roster_id")),
        _text("gateway_id", sa.ForeignKey("gateway.thumbprint")),
        _text("start"),
        _text("end"),
        _text("first_start", nullable=True),
        _text("corrects", sa.ForeignKey("upload.digest"), nullable=True, unique=True),
        _text("state"),
        sa.UniqueConstraint("roster_id", "first_start"),
    )
    op.create_index("ix_upload_period", "upload", ["start", "end", "state"])


def _taken() -> Iterator[sa.Table]:
    yield op.create_table(
        "seat",
        _text("pseudonym", primary_key=True),
        _at("start_at", primary_key=True),
        _text("roster_id", sa.ForeignKey("roster.roster_id"), primary_key=True),
        _at("end_at"),
        _text("domain"),
    )
    yield op.create_table("billed_members", _text("digest", primary_key=True), _at())
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


def _computed() -> Iterator[sa.Table]:
    yield op.create_table(
        "job_seed",
        _text("job", primary_key=True),
        sa.Column("seed", sa.LargeBinary(), nullable=False),
        _at(),
    )
    yield op.create_table("transcript", *_signed(), _text("job", primary_key=True))
    yield op.create_table(
        "release_request",
        *_signed(),
        _number("id", primary_key=True),
        _text("request_id", unique=True),
        _text("plan"),
        _text("start"),
        _text("end"),
        _text("purpose"),
        _text("closing", sa.ForeignKey("closing.digest"), nullable=True),
        _text("state"),
    )
    op.create_index("ix_release_request_closing", "release_request", ["closing", "plan"])
    op.create_index("ix_release_request_period", "release_request", ["plan", "start", "end"])
    op.create_index("ix_release_request_state", "release_request", ["state"])
    yield op.create_table(
        "request_upload",
        _text("upload", sa.ForeignKey("upload.digest"), primary_key=True),
        _text("request_id", sa.ForeignKey("release_request.request_id"), primary_key=True),
    )


def _ordered() -> Iterator[sa.Table]:
    yield op.create_table(
        "run",
        _number("id", primary_key=True),
        _text("run_id", unique=True),
        *(_text(name) for name in ("plan", "start", "end", "purpose", "requested_by")),
        *(_text(name) for name in ("query", "grant", "state")),
        _number("jobs_done"),
        _number("jobs"),
        _text("request_id", sa.ForeignKey("release_request.request_id"), nullable=True),
        _text("reason", nullable=True),
        _text("failure", nullable=True),
        _at(),
    )
    op.create_index("ix_run_order", "run", ["state", "plan", "start", "end"])
    yield op.create_table("query_grant", _text("grant_id", primary_key=True), _text("used"), _at())


# --- rows


def _body(text: str) -> dict[str, Any]:
    """What a signed message says."""
    found: dict[str, Any] = json.loads(json.loads(text)["body"])
    return found


def _as_signed(item: OldRecord) -> dict[str, Any]:
    return {"digest": item.digest, "message": item.text, "at": item.at}


def _named(old: OldRecords, kind: str, key: str) -> Rows:
    for item in old.take(kind):
        yield _as_signed(item) | {key: item.name}


def _gateways(old: OldRecords) -> Rows:
    for item in old.take("gateway"):
        point = bytes.fromhex(json.loads(item.text)["key"])
        yield {"thumbprint": item.name, "subject": item.scope, "point": point, "at": item.at}


def _key_sets(old: OldRecords) -> Rows:
    for item in old.take("key-set"):
        gateway, parameters, generation = item.scope.rsplit("/", 2)
        place = {"gateway_id": gateway, "parameters": parameters, "generation": int(generation)}
        yield _as_signed(item) | {"key_id": item.name} | place


def _rosters(old: OldRecords) -> Rows:
    for item in old.take("roster"):
        said = _body(item.text)
        yield _as_signed(item) | {"roster_id": item.name, "gateway_id": said["gateway_id"]}


def _sequences(old: OldRecords) -> Rows:
    for item in old.take("sequence"):
        gateway, _, number = item.name.rpartition("/")
        yield {
            "gateway_id": gateway,
            "sequence": int(number),
            "digest": item.digest,
            "at": item.at,
        }


def _uploads(old: OldRecords) -> Rows:
    for item in old.take("upload"):
        said = _body(item.text)
        corrects = said.get("corrects")
        yield _as_signed(item) | {
            "roster_id": said["roster_id"],
            "gateway_id": said["gateway_id"],
            "start": said["start"],
            "end": said["end"],
            "first_start": None if corrects else said["start"],
            "corrects": corrects,
            "state": item.state,
        }


def _seats(old: OldRecords) -> Rows:
    spans = {
        item.name: (item.state, *map(datetime.fromisoformat, json.loads(item.text)))
        for item in old.take("period")
    }
    for item in old.take("seating"):
        domain, start, end = spans[item.state]
        for pseudonym in json.loads(item.text):
            yield {
                "pseudonym": pseudonym,
                "start_at": start,
                "roster_id": item.digest,
                "end_at": end,
                "domain": domain,
            }


def _closings(old: OldRecords) -> Rows:
    for item in old.take("closing"):
        said = _body(item.text)
        yield _as_signed(item) | {name: said[name] for name in ("start", "end", "number")}


def _requests(old: OldRecords) -> Rows:
    abouts = old.take("release-request-about")  # state: the plan and the closing list
    closings = {item.name: item.state.rpartition("/")[2] for item in abouts}
    for item in old.take("release-request"):
        said = _body(item.text)
        yield _as_signed(item) | {
            "request_id": item.name,
            **{name: said[name] for name in ("plan", "start", "end", "purpose")},
            "closing": closings.get(item.name),
            "state": item.state,
        }


def _request_uploads() -> Rows:
    found = op.get_bind().execute(sa.text("SELECT request_id, message FROM release_request"))
    for request_id, message in found.fetchall():
        transcripts = [json.loads(one["body"]) for one in _body(message)["transcripts"]]
        for upload in sorted({digest for one in transcripts for digest in one["uploads"]}):
            yield {"request_id": request_id, "upload": upload}


def _runs(old: OldRecords) -> Rows:
    outcomes = {item.name: json.loads(item.text) for item in old.take("run-outcome")}
    for item in old.take("run"):
        outcome = outcomes.get(item.name, {})
        yield {
            "run_id": item.name,
            **json.loads(item.text),
            "state": item.state,
            "jobs_done": outcome.get("done", 0),
            "jobs": outcome.get("of", 0),
            "request_id": outcome.get("request_id"),
            "reason": outcome.get("reason"),
            "failure": outcome.get("message"),
            "at": item.at,
        }
