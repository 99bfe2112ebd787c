"""A verifier of C2SP logs by others, `proofbundle`, reads our checkpoints and proofs.

It was written from the same specifications (tlog-checkpoint, tlog-proof, tlog-cosignature), shares
no code with ours, and is read by ours. `aics-tlog`, the other one in Python, wants 3.12.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from proofbundle import checkpoint as peer_checkpoints
from proofbundle import tlogproof as peer_proofs
from sqlalchemy import Engine

from gridsecure.crypto import ed25519
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.evidence import (
    EvidenceEntry,
    EvidenceRow,
    append,
    list_entries_after,
    public_entry,
)
from gridsecure.store.log_tree import SignedLog, prove_inclusion, read_frontier
from gridsecure.transparency.checkpoints import LogSigner, open_checkpoint
from gridsecure.transparency.inclusion_proofs import read_proof, verify_proof
from gridsecure.transparency.notes import NoteKey, cosign, read_key, read_note, write_note
from tests.grid_simulator import NOW

ENTRIES = 300
SEED = bytes(range(32))
WITNESS = "witness.example/log"


@pytest.fixture(scope="module")
def log() -> SignedLog:
    key = generate_private_key()
    name = f"gridsecure/gateway/{key.public_key.thumbprint}"
    return SignedLog(LogSigner(name, SEED, key))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A log of more than one tile."""
    folder: Path = tmp_path_factory.mktemp("log")
    made = open_database(f"sqlite:///{folder / 'log.db'}")
    EvidenceRow.metadata.create_all(made)
    with write_session(made) as session:
        for number in range(ENTRIES):
            at, detail = NOW + timedelta(seconds=number), {"number": number}
            append(session, at=at, actor="zone", action="deed", detail=detail)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def entries(engine: Engine) -> list[EvidenceEntry]:
    with read_session(engine) as session:
        return list_entries_after(session, -1, limit=ENTRIES)


def entry_of(one: EvidenceEntry) -> bytes:
    return public_entry(one.hash, salt=one.salt)


def signed(log: SignedLog, engine: Engine) -> str:
    with read_session(engine) as session:
        return log.sign(read_frontier(session)).decode()


def test_the_peer_believes_our_checkpoint(log: SignedLog, engine: Engine) -> None:
    """It checks the Ed25519 line, and ignores that of SM2, whose type it does not know."""
    note, key = signed(log, engine), log.signer.keys[0].text
    found = peer_checkpoints.verify_checkpoint(note, key)
    with read_session(engine) as session:
        tree = read_frontier(session)
    assert found["ok"]
    assert (found["tree_size"], found["root"]) == (ENTRIES, tree.root)
    forged = note.replace(f"\n{ENTRIES}\n", f"\n{ENTRIES + 1}\n")
    assert not peer_checkpoints.verify_checkpoint(forged, key)["ok"]


def test_the_peer_believes_our_proofs_and_no_others(
    log: SignedLog, engine: Engine, entries: list[EvidenceEntry]
) -> None:
    key = log.signer.keys[0].text
    with read_session(engine) as session:
        proofs = {one.index: log.prove(session, one).text for one in entries[::23]}
    for index, proof in proofs.items():
        entry = entry_of(entries[index])
        assert peer_proofs.verify_tlog_proof(proof, entry, key)["ok"]
        other = entry_of(entries[(index + 1) % ENTRIES])
        assert not peer_proofs.verify_tlog_proof(proof, other, key)["ok"]
        moved = proof.replace(f"\nindex {index}\n", f"\nindex {(index + 1) % ENTRIES}\n")
        assert not peer_proofs.verify_tlog_proof(moved, entry, key)["ok"]


def test_the_peer_counts_our_witness(log: SignedLog, engine: Engine) -> None:
    witness = NoteKey(WITNESS, "cosignature", ed25519.public_key_of(SEED[::-1]))
    note = read_note(signed(log, engine).encode())
    line = cosign(note, name=WITNESS, seed=SEED[::-1], at=int(NOW.timestamp()))
    cosigned = write_note(note.text, [*note.signatures, line]).decode()
    found = peer_checkpoints.verify_witnessed_checkpoint(
        cosigned, log.signer.keys[0].text, [witness.text], threshold=1
    )
    assert found["ok"]
    alone = signed(log, engine)
    unseen = peer_checkpoints.verify_witnessed_checkpoint(
        alone, log.signer.keys[0].text, [witness.text], threshold=1
    )
    assert not unseen["ok"]


def test_we_believe_the_peers_checkpoint_and_proof(
    engine: Engine, entries: list[EvidenceEntry]
) -> None:
    private, origin = Ed25519PrivateKey.from_private_bytes(SEED), "peer.example/log"
    key = read_key(peer_checkpoints.vkey(origin, private.public_key().public_bytes_raw()))
    with read_session(engine) as session:
        tree = read_frontier(session)
        path = prove_inclusion(session, 200, size=tree.size)
    note = peer_checkpoints.sign_checkpoint(origin, tree.size, tree.root, private, origin)
    assert open_checkpoint(note.encode(), [key]).root == tree.root
    proof = read_proof(peer_proofs.format_tlog_proof(200, path, note))
    assert verify_proof(proof, entry=entry_of(entries[200]), keys=[key]).size == ENTRIES
