"""A certificate checked offline, with public keys alone: who signed it, and that it is in the log.

Nothing is asked of any service. What this cannot show: that the log is the one that others see. For
that a witness keeps its checkpoints (`gridsecure log witness --compare`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gridsecure.analyst.certified_levels import check_certified_level
from gridsecure.analyst.releases import PinnedAuthority, Release, verify_release
from gridsecure.errors import AuditBrokenError
from gridsecure.messages import ReleaseCertificate
from gridsecure.policy.levels import Level
from gridsecure.released_values import SignedCertificate
from gridsecure.store.proved_entries import ProvedEntry, open_logged
from gridsecure.transparency.inclusion_proofs import read_proof
from gridsecure.transparency.log_policies import LogPolicy
from gridsecure.transparency.notes import NoteKey

GRANTED: Final = "release.granted"
"""What the log says was done with a certificate."""


@dataclass(frozen=True, slots=True)
class VerifiedCertificate:
    """A certificate of which all was verified.

    Args:
        release: What it says.
        entry: Its entry in the authority's log.
        has_values: Whether it is the copy with values.
        cosigners: Witnesses who cosigned the checkpoint, by their names in the policy.
        level: The security level that it keeps; None where it names none, or none that is known.
        level_digest: As the certificate names it.
    """

    release: Release
    entry: ProvedEntry
    has_values: bool
    cosigners: tuple[str, ...] = ()
    level: Level | None = None
    level_digest: str = ""


def log_keys_of(authority: PinnedAuthority, others: Sequence[NoteKey]) -> list[NoteKey]:
    """The keys of the authority's log: its own SM2 key, and others that were given.

    Args:
        others: For example its Ed25519 key.
    """
    origin = f"gridsecure/authority/{authority.thumbprint}"
    return list(dict.fromkeys([NoteKey(origin, "sm2", authority.key.point), *others]))


def verify_certificate(
    content: bytes,
    *,
    authority: PinnedAuthority,
    keys: Sequence[NoteKey] = (),
    policy: LogPolicy | None = None,
    proof: str = "",
    level: Level | None = None,
) -> VerifiedCertificate:
    """Verify a certificate and its proof.

    1. the signature, under the pinned key and no other;
    2. that every cell keeps the certificate's own rule;
    3. that its entry, of a release, is in the log of that key, under a checkpoint that all given
       keys signed;
    4. that as many witnesses cosigned the checkpoint as the policy wants;
    5. that what it shows keeps the security level that it names.

    Args:
        content: The signed certificate.
        keys: Public keys of the log beside the authority's own.
        policy: Whose cosignatures are wanted; it knows keys of the log as well.
        level: What it has to have, or a stricter one; None where any will do, or none.
        proof: A proof in a later checkpoint; by default the certificate's own, which was made
            before any witness saw it.

    Raises:
        SignatureError: Forged, or of another signer (`release.signature`, `log.signature`).
        AuditBrokenError: It has no proof (`log.no-proof`), or its entry is not in the log, or is
            about another certificate (`log.inclusion`, `log.other-entry`), or too few witnesses
            cosigned (`log.quorum`).
        InputError: A given key is another log's (`log.other-key`), or the policy does not know this
            log (`log.policy-log`).
        ReleaseRefusedError: As `releases.verify_release` and `check_certified_level`.
        InvalidMessageError: Malformed.
    """
    envelope = SignedCertificate.parse(content)
    # 1. and 2.
    release = verify_release(content, authority=authority)
    certificate = ReleaseCertificate.parse(envelope.body)
    # 3.
    if not certificate.log_proof or not certificate.values_digest:
        raise _unproved()
    proof = proof or certificate.log_proof
    known = log_keys_of(authority, keys)
    if policy is not None:
        known = log_keys_of(authority, [*keys, *policy.keys_of(known[0].name)])
    entry = open_logged(
        envelope.body,
        name=certificate.evidence_head,
        action=GRANTED,
        proof=proof,
        keys=known,
    )
    # 4.
    cosigners = policy.find_cosigners(read_proof(proof).checkpoint) if policy else []
    if policy is not None:
        policy.check_quorum(cosigners)
    # 5.
    kept = check_certified_level(certificate, wanted=level)
    has_values = any(cell.value is not None for cell in release.cells)
    return VerifiedCertificate(
        release, entry, has_values, tuple(cosigners), kept, certificate.level
    )


def _unproved() -> AuditBrokenError:
    return AuditBrokenError(
        "The certificate carries no proof that all it says is in the log.",
        reason="log.no-proof",
        remedy="It is of a release before certificates had one. Its signature was good; ask "
        "the key authority for the entry that it names.",
    )


def certificate_document(found: VerifiedCertificate) -> dict[str, Any]:
    """What was found of a certificate, as a document: the same from service, SDK and command."""
    release, entry = found.release, found.entry
    return {
        "release_id": release.release_id,
        "plan": release.plan,
        "start": release.start.isoformat(),
        "end": release.end.isoformat(),
        "released_at": release.released_at.isoformat(),
        "signer": release.signer,
        "cells": len(release.cells),
        "has_values": found.has_values,
        "log": entry.checkpoint.origin,
        "entry": entry.index,
        "entry_hash": release.evidence_head,
        "logged_at": entry.at,
        "checkpoint_size": entry.checkpoint.size,
        "checkpoint_root": entry.checkpoint.root.hex(),
        "cosigners": list(found.cosigners),
        "level": found.level.name if found.level else "",
        "level_digest": found.level_digest,
    }
