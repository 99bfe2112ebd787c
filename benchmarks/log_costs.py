"""What the evidence log costs: appending, proving in a long log, and checking a certificate."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy import Engine
from sqlmodel import Session

from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of
from gridsecure.analyst.certificates import verify_certificate
from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.messages import CellTotal, ReleaseCertificate
from gridsecure.released_values import detach_values, sign_certificate
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.evidence import EvidenceRow, append, count_entries, list_entries_after
from gridsecure.store.log_tree import SignedLog, prove_inclusion, read_frontier
from gridsecure.store.proved_entries import LOGGED, message_digest
from gridsecure.transparency.checkpoints import LogSigner
from gridsecure.transparency.tree import verify_inclusion

MUST_APPEND: Final = 2000.0
TRY_APPEND: Final = 5000.0
MUST_PROOF_MS: Final = 5.0
TRY_PROOF_MS: Final = 1.0
MUST_PROOF_BYTES: Final = 1024.0
TRY_PROOF_BYTES: Final = 800.0
MUST_CHECKS: Final = 200.0
TRY_CHECKS: Final = 1000.0
_AT: Final = datetime(2026, 11, 29, tzinfo=UTC)
_PORTION: Final = 100
_CHECKS: Final = 20
_CELLS: Final = 42


def log_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Appends and certificate checks a second; time and size of a proof in a long log.

    Raises:
        AssertionError: A proof does not verify.
    """
    with TemporaryDirectory() as folder:
        short = _open(Path(folder), "short")
        rate = _append_rate(short, sizes)
        _check_proofs(short)
        checks = _certificate_rate(short, sizes)
        short.dispose()
        long = _open(Path(folder), "long")
        _fill(long, sizes.log_entries)
        proof_ms, proof_bytes = _proof(long, sizes)
        long.dispose()
    entries = f"{sizes.log_entries:,} entries"
    each = f"each of {_PORTION} in a transaction, SQLite, processor time"
    whole = f"Inclusion proof in a log of {entries}"
    return [
        Figure("log_append", "Evidence log: entries appended", "per second", rate, MUST_APPEND,
               TRY_APPEND, comparison=">=", note=each),
        Figure("log_proof_time", whole, "ms", proof_ms, MUST_PROOF_MS, TRY_PROOF_MS,
               note="read from SQLite and joined; the mean of 100 places"),
        Figure("log_proof_bytes", f"{whole}: its hashes", "bytes", proof_bytes, MUST_PROOF_BYTES,
               TRY_PROOF_BYTES, note="as text, in base64, a third more"),
        Figure("certificate_checks", f"Certificates of {_CELLS} cells verified with their proofs",
               "per second", checks, MUST_CHECKS, TRY_CHECKS, comparison=">=",
               note="three SM2 or Ed25519 signatures and the path; one core, processor time"),
    ]  # fmt: skip


def _open(folder: Path, name: str) -> Engine:
    engine = open_database(f"sqlite:///{folder / name}.db")
    EvidenceRow.metadata.create_all(engine)
    return engine


def _append_rate(engine: Engine, sizes: BenchSizes) -> float:
    def add() -> None:
        with write_session(engine) as session:
            first = count_entries(session)
            for number in range(first, first + _PORTION):
                detail: dict[str, Any] = {"number": number, "digest": "ab" * 32}
                append(session, at=_AT, actor="checker", action="release.refused", detail=detail)

    add()  # statements are compiled once in a process
    seconds, _ = best_of(add, sizes=sizes, clock=time.process_time)
    return _PORTION / seconds


def _check_proofs(engine: Engine) -> None:
    """What is timed is right: in a log that was really made, every proof verifies."""
    with read_session(engine) as session:
        tree = read_frontier(session)
        nodes = {index: _leaf(session, index) for index in range(0, tree.size, 7)}
        for index, leaf in nodes.items():
            path = prove_inclusion(session, index, size=tree.size)
            verify_inclusion(leaf, index=index, size=tree.size, path=path, root=tree.root)


def _leaf(session: Session, index: int) -> bytes:
    (entry,) = list_entries_after(session, index - 1, limit=1)
    return entry.leaf


def _fill(engine: Engine, entries: int) -> None:
    """A log so long; its hashes are of nothing, which reading and joining them does not mind."""
    counted = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {})"
    row = "i, '', 'a', 'b', '{}', '', printf('%064x', i), printf('%032x', i)"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f'INSERT INTO evidence ("index", at, actor, action, detail, previous, hash, salt) '  # noqa: S608
            f"{counted.format(entries)} SELECT {row} FROM n"
        )
        for level in range(1, entries.bit_length()):
            place = f"i * {1 << (level + 1)} + {(1 << level) - 1}"
            connection.exec_driver_sql(
                f"INSERT INTO evidence_node (place, hash) {counted.format(entries >> level)} "  # noqa: S608
                f"SELECT {place}, zeroblob(32) FROM n"
            )


def _proof(engine: Engine, sizes: BenchSizes) -> tuple[float, float]:
    places = range(0, sizes.log_entries, max(1, sizes.log_entries // 100))

    def prove() -> int:
        with read_session(engine) as session:
            return max(
                len(b"".join(prove_inclusion(session, index, size=sizes.log_entries)))
                for index in places
            )

    seconds, longest = best_of(prove, sizes=sizes, clock=time.process_time)
    return seconds / len(places) * 1000, float(longest)


def _certificate_rate(engine: Engine, sizes: BenchSizes) -> float:
    key = generate_private_key()
    signer = LogSigner(f"gridsecure/authority/{key.public_key.thumbprint}", b"\1" * 32, key)
    content = _certificate(engine, key, signer)
    authority = PinnedAuthority(key.public_key)

    def check() -> None:
        for _ in range(_CHECKS):
            verify_certificate(content, authority=authority, keys=signer.keys)

    seconds, _ = best_of(check, sizes=sizes, clock=time.process_time)
    return _CHECKS / seconds


def _certificate(engine: Engine, key: Sm2PrivateKey, signer: LogSigner) -> bytes:
    start, end = "2026-10-01T00:00:00+08:00", "2026-11-01T00:00:00+08:00"
    cell = CellTotal(
        zone="futian", customer_class="household", start=start, end=end, measure="energy_wh",
        members=120, value="123456789",
    )  # fmt: skip
    certificate = ReleaseCertificate(
        release_id="1", plan="bill", plan_version=1, start=start, end=end, purpose="billing",
        requested_by="office", released_at=_AT.isoformat(), transcripts=["ab" * 32],
        outputs_digest="cd" * 32, minimum_members=100, cells=[cell] * _CELLS, statements={},
        evidence_head="0" * 64,
    )  # fmt: skip
    bare, values = detach_values(certificate)
    with write_session(engine) as session:
        detail = {LOGGED: message_digest(bare.model_dump_json())}
        entry = append(session, at=_AT, actor="checker", action="release.granted", detail=detail)
        proof = SignedLog(signer).prove(session, entry).text
    whole = bare.model_copy(update={"evidence_head": entry.hash, "log_proof": proof})
    return sign_certificate(whole, values, key=key).model_dump_json().encode()
