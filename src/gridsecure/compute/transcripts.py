"""Transcripts and blinding seeds: what the platform keeps of a job, once, under the job's name."""

from __future__ import annotations

import secrets
from datetime import datetime

from gridsecure.compute.zone import PlatformZone
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.messages import Signed, Transcript, signed
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.records import Record, listed, record


def job_seed(zone: PlatformZone, name: str, *, at: datetime) -> bytes:
    """The job's blinding seed: drawn once, kept, so that a restarted job blinds alike."""
    fresh = secrets.token_bytes(SEED_SIZE).hex()
    with write_session(zone.engine) as session:
        known = [item for item in listed(session, kind="seed") if item.name == name]
        if known:
            return bytes.fromhex(known[0].text)
        record(session, Record("seed", name, name, sm3_hex(fresh.encode()), "", fresh), at=at)
    return bytes.fromhex(fresh)


def recorded_transcripts(zone: PlatformZone) -> dict[str, Signed]:
    """All transcripts by job name."""
    with read_session(zone.engine) as session:
        return {i.name: Signed.parsed(i.text) for i in listed(session, kind="transcript")}


def record_transcript(
    zone: PlatformZone, transcript: Transcript, *, job: str, at: datetime
) -> Signed:
    """Sign and keep a job's transcript."""
    envelope = signed(transcript, key=zone.signing_key)
    entry = Record("transcript", job, job, envelope.digest, "", envelope.model_dump_json())
    with write_session(zone.engine) as session:
        record(session, entry, at=at)
        evidence.append(
            session,
            at=at,
            actor="platform",
            action="plan.run",
            detail={"job": job, "transcript": envelope.digest},
        )
    return envelope
