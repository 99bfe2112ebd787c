"""Transcripts and blinding seeds: what the platform keeps of a job, once, under the job's name."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

from gridsecure.compute.received import as_signed
from gridsecure.compute.tables import JobSeedRow, TranscriptRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.messages import Signed, Transcript, sign_message
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find, find_many, keep


def keep_job_seed(zone: PlatformZone, name: str, *, at: datetime) -> bytes:
    """The job's blinding seed: drawn once, kept, so that a restarted job blinds alike."""
    fresh = secrets.token_bytes(SEED_SIZE)
    with write_session(zone.engine) as session:
        known = find(session, JobSeedRow, job=name)
        if known is not None:
            return known.seed
        keep(session, JobSeedRow(job=name, seed=fresh, at=at))
    return fresh


def find_transcripts(zone: PlatformZone, jobs: Sequence[str]) -> dict[str, Signed]:
    """The transcripts of those of some jobs that are done, by job name."""
    with read_session(zone.engine) as session:
        found = find_many(session, TranscriptRow, jobs, by="job")
    return {name: row.envelope for name, row in found.items()}


def record_transcript(
    zone: PlatformZone, transcript: Transcript, *, job: str, at: datetime
) -> Signed:
    """Sign and keep a job's transcript."""
    envelope = sign_message(transcript, key=zone.signing_key)
    with write_session(zone.engine) as session:
        keep(session, TranscriptRow(**as_signed(envelope, at=at), job=job))
        evidence.append(
            session,
            at=at,
            actor="platform",
            action="plan.run",
            detail={"job": job, "transcript": envelope.digest},
        )
    return envelope
