"""Columns, frames, envelopes, tokens, credentials, logs and sealed messages.

What a signature or an envelope covers is changed before it is signed or sealed, as an insider with
a key could, for the signature alone would refuse it otherwise.
"""

from __future__ import annotations

import base64
import json
import struct
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from gridsecure.bill_receipts import read_openings
from gridsecure.cli.zone_cards import ZoneCard, read_card, sign_card
from gridsecure.client.events import read_event
from gridsecure.credentials.issuance import read_requested_key
from gridsecure.credentials.issuer_keys import IssuerPrivateKey, IssuerPublicKey
from gridsecure.credentials.presentations import Domain, Escrow
from gridsecure.credentials.queries import load_curve_query, parse_query
from gridsecure.credentials.sealed_questions import (
    QUESTION_PURPOSE,
    SIZES,
    QueryKeyNotice,
    open_question,
    read_query_key,
    write_question,
)
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto import ed25519
from gridsecure.crypto.envelope import open_from, open_sealed, seal, seal_to
from gridsecure.crypto.padding import pad, unpad
from gridsecure.crypto.sm2 import Sm2PublicKey, private_key_from_bytes
from gridsecure.crypto.tokens import ALGORITHM, TokenClaims, _jws, issue_token, verify_token
from gridsecure.delivered_bills import (
    DELIVERY_PURPOSE,
    issue_bill,
    open_delivery,
    read_code,
    read_request,
    request_key,
    seal_delivery,
)
from gridsecure.frames import join_frames, split_frames
from gridsecure.homomorphic.coefficients import pack, packed_size
from gridsecure.homomorphic.column_files import read_column
from gridsecure.homomorphic.columns import Evaluation
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.messages import EventNotice, Signed, sign_message
from gridsecure.plans.query_groups import read_rows, write_rows
from gridsecure.transparency.checkpoints import LogSigner, open_checkpoint, read_checkpoint
from gridsecure.transparency.inclusion_proofs import InclusionProof, read_proof, verify_proof
from gridsecure.transparency.log_policies import read_policy
from gridsecure.transparency.notes import NoteKey, read_key, read_note
from gridsecure.transparency.tiles import read_path
from gridsecure.transparency.tree import Frontier, leaf_hash
from tests.fuzz.parsers import Parser, text_of

KEY = private_key_from_bytes(b"\x01" * 32)
OTHER = private_key_from_bytes(b"\x02" * 32)
PUBLIC = KEY.public_key
POINT = PUBLIC.point
TRUSTED = {PUBLIC.thumbprint: PUBLIC}
NOW = datetime(2026, 8, 1, tzinfo=UTC)
KEK = bytes(16)
SUITE = sm2_suite()
CLAIMS = TokenClaims("s", ("analyst",), "platform", "identity", NOW, NOW + timedelta(hours=1), "t")
LOG = LogSigner("gridsecure/test/1", bytes(range(32)), KEY)
LEAVES = [bytes([number]) for number in range(5)]
TREE = Frontier().grow(map(leaf_hash, LEAVES))
CHECKPOINT = LOG.sign(TREE.size, TREE.root)
EVALUATION = Evaluation(INTERVAL, "k" * 64)
SLOTS = 100


def _token(data: bytes) -> object:
    """A payload of anybody's, which the identity authority signed."""
    headers = {"kid": PUBLIC.thumbprint}
    token = _jws.encode(data, KEY, algorithm=ALGORITHM, headers=headers)  # type: ignore[arg-type]
    return verify_token(token, key=PUBLIC, audience="platform", issuer="identity", now=NOW)


def _payloads() -> list[bytes]:
    _, payload, _ = issue_token(CLAIMS, key=KEY).split(".")
    return [base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))]


def _whole_token(data: bytes) -> object:
    token = text_of(data)
    return verify_token(token, key=PUBLIC, audience="platform", issuer="identity", now=NOW)


def _columns() -> list[bytes]:
    header = {
        "chunks": 1,
        "key_id": EVALUATION.key_id,
        "label": {
            "quantity": "total",
            "unit": "Wh",
            "roster_id": "r",
            "start": "2026-07-01T00:00:00+08:00",
            "end": "2026-08-01T00:00:00+08:00",
            "slots": SLOTS,
            "high": 60_000,
        },
        "parameters": INTERVAL.name,
        "parameters_digest": INTERVAL.digest,
        "polynomials": 2,
        "primes": 1,
    }
    encoded = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    modulus = INTERVAL.primes[0]
    row = np.arange(INTERVAL.ring_degree, dtype=np.uint64)
    assert len(pack(row, modulus=modulus)) == packed_size(len(row), modulus=modulus)
    rows = [pack(row, modulus=modulus)] * 2
    return [b"GSEC\x01" + struct.pack(">I", len(encoded)) + encoded + b"".join(rows)]


def _column(data: bytes) -> object:
    """As it came, and with the length of its header put right."""
    start = len(b"GSEC\x01") + 4
    end = data.find(b"}", data.find(b"primes")) + 1
    if end > start and data.startswith(b"GSEC"):
        data = data[:5] + struct.pack(">I", end - start) + data[start:]
    return read_column(data, evaluation=EVALUATION, roster_id="r")


def _signed(expect: Callable[[Signed], object], kind: str) -> Callable[[bytes], object]:
    """A body of anybody's, under the signature of a key that is trusted."""

    def read(data: bytes) -> object:
        unsigned = Signed(
            body_kind=kind, body=text_of(data), signer=PUBLIC.thumbprint, signature=""
        )
        signature = KEY.sign(unsigned._signed_bytes).hex()
        return expect(unsigned.model_copy(update={"signature": signature}))

    return read


NOTICE = EventNotice(
    zone="gateway",
    receiver="erp",
    event="cycle.done",
    subject="2026-07",
    count=1,
    entry=7,
    happened_at=NOW.isoformat(),
    at=NOW.isoformat(),
)


def _event(envelope: Signed) -> object:
    body = envelope.model_dump_json().encode()
    return read_event(body, receiver="erp", service_key=POINT.hex(), not_before=NOW)


def _cards() -> list[bytes]:
    card = ZoneCard(
        zone="platform",
        name="platform",
        made_at=NOW.isoformat(),
        public_key=POINT.hex(),
        address="https://platform.example:8443",
        roles=("analyst",),
        user=1001,
    )
    assert sign_card(card, key=KEY).body == card.model_dump_json()
    return [card.model_dump_json().encode()]


def _card(envelope: Signed) -> object:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(envelope.model_dump_json().encode())
        file.flush()
        return read_card(Path(file.name))


BILL = {
    "start": "2026-07-01T00:00:00+08:00",
    "end": "2026-08-01T00:00:00+08:00",
    "version": 1,
    "total": "12.50",
    "tariff": {"currency": "CNY"},
}
CODE = issue_bill("A-1", BILL, issuer="Utility", key=KEY)


def _deliveries() -> list[bytes]:
    sealed = seal_delivery(BILL, code=CODE, customer=PUBLIC, now=NOW)
    opened = unpad(open_from(sealed, private_key=KEY, purpose=DELIVERY_PURPOSE))
    assert opened is not None
    return [opened]


def _sealed(data: bytes, purpose: str) -> bytes:
    padded = pad(data, size=max(4096, len(data) + 4))
    return seal_to(padded, recipient=PUBLIC, purpose=purpose, owner="", created_at=NOW)


def _delivery(data: bytes) -> object:
    return open_delivery(_sealed(data, DELIVERY_PURPOSE), key=KEY, office=PUBLIC)


def _asked_questions() -> list[bytes]:
    content = write_question('{"measure": "energy_wh"}', reader=PUBLIC)
    return [content.model_dump_json().encode()]


def _asked(data: bytes) -> object:
    sealed = base64.b64encode(_sealed(data, QUESTION_PURPOSE)).decode()
    return open_question(sealed, key=KEY, reader=POINT.hex())


def _query_keys() -> list[bytes]:
    returns = SUITE.group.encode(SUITE.g).hex()
    notice = QueryKeyNotice(point=POINT.hex(), returns=returns, sizes=list(SIZES))
    return [notice.model_dump_json().encode()]


def _queries() -> list[bytes]:
    return [load_curve_query("2026-07-01", "2026-08-01", reader=PUBLIC).text.encode()]


def _proof() -> bytes:
    before = Frontier().grow(map(leaf_hash, LEAVES[:4])).root
    return InclusionProof(4, (before,), CHECKPOINT, b"extra").text.encode()


def _proved(data: bytes) -> object:
    return verify_proof(read_proof(text_of(data)), entry=LEAVES[4], keys=LOG.keys)


def _log_policies() -> list[bytes]:
    witness = NoteKey("witness.example", "cosignature", ed25519.public_key_of(bytes(32)))
    own = f"log {LOG.keys[0].text}\nwitness w {witness.text}\n"
    return [f"# ours\n{own}group all 1 w\nquorum all\n".encode(), f"{own}quorum none\n".encode()]


PARSERS = (
    Parser("column", _column, _columns),
    Parser("frames", split_frames, lambda: [join_frames([b"", b"a", b"bc" * 20])]),
    Parser("rows", read_rows, lambda: [write_rows(np.array([0, 1, -1, 2], dtype=np.int64))]),
    Parser("token.payload", _token, _payloads),
    Parser("token", _whole_token, lambda: [issue_token(CLAIMS, key=KEY).encode()]),
    Parser(
        "envelope.at-rest",
        lambda data: open_sealed(data, kek=KEK, purpose="p"),
        lambda: [seal(b"data", kek=KEK, purpose="p", owner="o", created_at=NOW)],
    ),
    Parser(
        "envelope.to-a-key",
        lambda data: open_from(data, private_key=KEY, purpose="p"),
        lambda: [seal_to(b"d", recipient=PUBLIC, purpose="p", owner="o", created_at=NOW)],
    ),
    Parser("public-key", Sm2PublicKey, lambda: [POINT, OTHER.public_key.point]),
    Parser("signature", lambda data: PUBLIC.verify(b"m", data), lambda: [KEY.sign(b"m")]),
    Parser("ciphertext", KEY.decrypt, lambda: [PUBLIC.encrypt(b"data")]),
    Parser(
        "escrow",
        lambda data: Escrow.from_bytes(data, suite=SUITE),
        lambda: [Escrow(SUITE.g, SUITE.h).to_bytes(SUITE)],
    ),
    Parser(
        "issuer-key",
        lambda data: IssuerPublicKey.from_bytes(data, suite=SUITE),
        lambda: [IssuerPublicKey(SUITE.g, SUITE.h, SUITE.g).to_bytes(SUITE)],
    ),
    Parser(
        "issuer-private-key",
        lambda data: IssuerPrivateKey.from_bytes(data, suite=SUITE),
        lambda: [IssuerPrivateKey(1, 2, 3, 4).to_bytes(SUITE)],
    ),
    Parser(
        "credential-request",
        lambda data: read_requested_key(data, suite=SUITE),
        lambda: [SUITE.group.encode_whole(SUITE.g) + b"proof"],
    ),
    Parser("domain", lambda data: Domain.parse(text_of(data)), lambda: [b"platform/use/2026-07"]),
    Parser("query", lambda data: parse_query(text_of(data)), _queries),
    Parser("sealed-question", _asked, _asked_questions),
    Parser(
        "query-key",
        _signed(
            lambda one: read_query_key(one.model_dump_json().encode(), trusted=TRUSTED),
            "query-key",
        ),
        _query_keys,
    ),
    Parser("note-key", lambda data: read_key(text_of(data)), lambda: [LOG.keys[0].text.encode()]),
    Parser("note", read_note, lambda: [CHECKPOINT]),
    Parser("checkpoint", read_checkpoint, lambda: [CHECKPOINT]),
    Parser(
        "checkpoint.of-a-log", lambda data: open_checkpoint(data, LOG.keys), lambda: [CHECKPOINT]
    ),
    Parser("proof", lambda data: read_proof(text_of(data)), lambda: [_proof()]),
    Parser("proof.verified", _proved, lambda: [_proof()]),
    Parser("log-policy", read_policy, _log_policies),
    Parser(
        "tile", lambda data: read_path(text_of(data)), lambda: [b"0/x001/234.p/5", b"entries/000"]
    ),
    Parser(
        "bill-code", lambda data: read_code(text_of(data), office=PUBLIC), lambda: [CODE.encode()]
    ),
    Parser("delivery", _delivery, _deliveries),
    Parser(
        "customer-key",
        _signed(read_request, "customer-key"),
        lambda: [request_key("A-1", key=KEY, now=NOW).body.encode()],
    ),
    Parser("event", _signed(_event, EventNotice.kind), lambda: [NOTICE.model_dump_json().encode()]),
    Parser("zone-card", _signed(_card, ZoneCard.kind), _cards),
    Parser("openings", read_openings, lambda: [b"[]"], refuses=(ValueError,)),
    Parser(
        "signed",
        Signed.parse,
        lambda: [sign_message(NOTICE, key=KEY).model_dump_json().encode()],
    ),
)
