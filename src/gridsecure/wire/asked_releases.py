"""What is asked to be released, as the key authority lists it: read, and held to its digest."""

from __future__ import annotations

from dataclasses import dataclass

from gridsecure.approvals import ReleaseSubject, subject_digest
from gridsecure.errors import SignatureError
from gridsecure.messages import Digest, Signed
from gridsecure.wire.authority import ApprovalListed


@dataclass(frozen=True, slots=True)
class AskedRelease:
    """What is asked to be released.

    Args:
        digest: Of the subject's text, computed here.
        missing: Roles whose approval it still lacks.
        decisions: What officers decided, as signed; not verified here.
    """

    digest: Digest
    subject: ReleaseSubject
    state: str
    missing: tuple[str, ...]
    decisions: tuple[Signed, ...]


def read_listed(listed: ApprovalListed) -> AskedRelease:
    """What one entry of the list says.

    Raises:
        InvalidMessageError: Its text is no subject.
        SignatureError: Its text is not what its digest says (`approval.text`).
    """
    subject = ReleaseSubject.parse(listed.text)
    digest = subject_digest(listed.text)
    if digest != listed.subject:
        raise other_text()
    return AskedRelease(
        digest, subject, listed.state, tuple(listed.missing), tuple(listed.decisions)
    )


def other_text() -> SignatureError:
    """What is raised where a text is not the one that its digest names."""
    return SignatureError(
        "The key authority shows another text than its digest says.",
        reason="approval.text",
        remedy="Sign nothing of it. Tell the security officer.",
    )
