"""What the key authority answers; what it signs is in `messages`."""

from __future__ import annotations

from gridsecure.messages import Digest, Signed
from gridsecure.wire.services import Answer, Count


class KeySetListed(Answer):
    """A gateway's key set, its state, and the signed notice."""

    key_id: str
    gateway: str
    generation: int
    parameters: str
    created_at: str
    state: str
    notice: Signed


class RoundOutcome(Answer):
    """What a release round did with one waiting request, and how long that took [s].

    `state` is `released`, `previewed`, `refused`, `waiting` for approvals, or `failed`. What waits
    or failed is asked again in the next round.
    """

    request_id: str
    state: str
    reason: str | None
    release_id: str | None
    seconds: float


class ReleaseSummary(Answer):
    """A release as it is listed; `cells` have a value, `suppressed` have none."""

    release_id: str
    plan: str
    start: str
    end: str
    purpose: str
    released_at: str
    cells: Count
    suppressed: Count


class AgreementNamed(Answer):
    """Under which agreement a release is asked for; `state` is named, or spent once it was made."""

    release: str
    agreement: Digest
    state: str


class ApprovalListed(Answer):
    """What is asked to be released, and what officers said of it.

    `text` is the subject's exact text; officers sign its digest, `subject`. `state` is `waiting`,
    `rejected`, `refused` or `released`; while it waits, `missing` are the roles whose approval it
    lacks, and of suppliers that want to be asked `supplier:` and digits of their officers' keys.
    """

    subject: Digest
    text: str
    state: str
    missing: list[str]
    decisions: list[Signed]


class QuestionShown(Answer):
    """What a sealed query asks, as officers read it; `salt` is what its digest is made with."""

    question: str
    salt: str


class AuthorisationListed(Answer):
    """A standing authorisation as its officer signed it.

    `digest` names it. `state` is `in-force`, `expired` or `revoked`.
    """

    digest: Digest
    state: str
    authorisation: Signed


class ApproverListed(Answer):
    """An officer who approves releases, by the thumbprint of the key."""

    person: str
    role: str
    thumbprint: Digest
    is_revoked: bool
