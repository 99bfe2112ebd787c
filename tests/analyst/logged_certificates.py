"""Certificates as readers keep them: signed, values beside them, and proved to be in a log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from gridsecure.analyst.certificates import GRANTED
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.messages import ReleaseCertificate
from gridsecure.released_values import SignedCertificate, detach_values, sign_certificate
from gridsecure.store.database import (
    open_database,
    read_session,
    write_session,
    write_transaction,
)
from gridsecure.store.evidence import append
from gridsecure.store.log_tree import SignedLog
from gridsecure.store.old_records import create_evidence
from gridsecure.store.proved_entries import LOGGED, message_digest
from gridsecure.transparency.checkpoints import LogSigner

SEED = bytes(range(32))


def write_certificate(item: ReleaseCertificate, *, key: Sm2PrivateKey, folder: Path) -> Path:
    """Enter a certificate in a log of its own, sign it, and write it to a file of its name.

    Args:
        item: With the values in its cells.
        key: Of the authority.
    """
    path = folder / f"{item.release_id}.json"
    signed = log_certificate(item, key=key, folder=folder)
    path.write_text(signed.model_dump_json(), encoding="utf-8")
    return path


def log_certificate(
    item: ReleaseCertificate, *, key: Sm2PrivateKey, folder: Path
) -> SignedCertificate:
    """Enter a certificate in a log of its own, whose database is in a folder, and sign it."""
    bare, values = detach_values(item)
    signer = LogSigner(f"gridsecure/authority/{key.public_key.thumbprint}", SEED, key)
    engine = open_database(f"sqlite:///{folder / item.release_id}.db")
    with write_transaction(engine) as connection:
        create_evidence(connection)
    with write_session(engine) as session:
        entry = append(
            session,
            at=datetime(2026, 11, 30, tzinfo=UTC),
            actor="checker",
            action=GRANTED,
            detail={LOGGED: message_digest(bare.model_dump_json())},
        )
    with read_session(engine) as session:
        proof = SignedLog(signer).prove(session, entry).text
    engine.dispose()
    proved = bare.model_copy(update={"evidence_head": entry.hash, "log_proof": proof})
    return sign_certificate(proved, values, key=key)
