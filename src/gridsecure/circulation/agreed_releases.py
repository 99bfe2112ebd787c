"""A release under an agreement: what is shown to the key authority before it decrypts anything.

Checker and vault each look at all of it. Neither asks a market. They are shown the agreement with
both signatures, the market's word that it stands, the records by which the registration office says
who signs for either side, and which request it is for, signed by somebody of the consumer's. Two
keys verify all that: the market's, which alone looks at who may sell what, and the registration
office's.

What they cannot see: that the agreement was withdrawn, or a record replaced, since the market gave
its word. So the word is a day old at most whenever something is decrypted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import ClassVar, Final, NamedTuple

from pydantic import Field

from gridsecure.approvals import ReleaseSubject
from gridsecure.circulation.documents import (
    SKEW,
    MarketDocument,
    Member,
    Named,
    When,
    moment,
    open_document,
)
from gridsecure.circulation.organisations import OrganisationRecord
from gridsecure.circulation.trade import Agreement
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import AuthenticityError, ReleaseRefusedError
from gridsecure.messages import Digest, Message, Signed, open_message
from gridsecure.plans.purposes import RESEARCH

MISSING: Final = "agreement.missing"
_SIDES = 2
_FRESH = timedelta(days=1)
"""So old may the market's word be while something is decrypted."""


class AgreedRelease(MarketDocument):
    """Which release is asked for under an agreement; somebody of the consumer's signs it.

    Args:
        agreement: Its digest.
        release: The request's id, which will be the release's.
    """

    kind: ClassVar[str] = "agreed-release"
    agreement: Named
    release: str = Field(pattern=r"^[0-9a-f]{1,64}$")


class StandingAgreement(Message):
    """The market's word that an agreement is concluded and not withdrawn.

    Whatever an agreement needs, roles, rights, an offer and a request, was looked at before.

    Args:
        agreement: Its digest.
        at: When it stood so.
    """

    kind: ClassVar[str] = "standing-agreement"
    agreement: Named
    at: When


class AgreementProof(Message):
    """What shows an agreement to somebody who asks no market.

    Args:
        standing: A `StandingAgreement`, as the market signed it.
        named: An `AgreedRelease`.
        signatures: The agreement, as the provider and as the consumer signed it.
        organisations: The records of both, as the registration office signed them.
    """

    kind: ClassVar[str] = "agreement-proof"
    standing: Signed
    named: Signed
    signatures: list[Signed] = Field(min_length=_SIDES, max_length=_SIDES)
    organisations: list[Signed] = Field(min_length=_SIDES, max_length=_SIDES)


class ProvedBy(NamedTuple):
    """The keys that prove agreements, by their thumbprints; nothing is proved without either."""

    registrar: Mapping[Digest, Sm2PublicKey] = MappingProxyType({})
    market: Mapping[Digest, Sm2PublicKey] = MappingProxyType({})


NOBODY: Final = ProvedBy()
"""Proves nothing."""


class ProvedAgreement(NamedTuple):
    """What a proof shows.

    Args:
        digest: Of the agreement.
        consumers: Names of the consumer's people.
        stood_at: When it stood, in the market's word.
    """

    digest: Digest
    agreement: Agreement
    named: AgreedRelease
    consumers: frozenset[str]
    stood_at: str

    @property
    def until(self) -> datetime:
        """From when on it covers nothing, unless the market gives its word anew."""
        return min(moment(self.agreement.ends_at), moment(self.stood_at) + _FRESH)


def open_proof(proof: AgreementProof, *, by: ProvedBy, now: datetime) -> ProvedAgreement:
    """Verify every signature of a proof.

    Raises:
        AuthenticityError: A record is not the registration office's, the market does not say of
            this agreement that it stands, or one of the signatures is nobody's of the side that it
            should be of (`agreement.proof`).
        ReleaseRefusedError: It names another agreement (`agreement.named`), or the market's word is
            more than a day old or of the future (`agreement.old`).
        InvalidMessageError: A message is of another shape, or a time is none (`market.time`).
    """
    try:
        for one in proof.organisations:
            open_message(one, expect=OrganisationRecord, trusted=by.registrar)
        standing = open_message(proof.standing, expect=StandingAgreement, trusted=by.market)
    except AuthenticityError as error:
        raise _unproved("The registration office or the market did not sign its part") from error
    said_at = moment(standing.at)
    if not said_at - SKEW <= now < said_at + _FRESH:
        raise _refused("The market's word that the agreement stands is not of today", "old")
    first, second = proof.signatures
    proved, people = _read(proof)
    sides = (proved.agreement.provider, proved.agreement.consumer)
    times = [moment(one) for one in (proved.agreement.begins_at, proved.agreement.ends_at)]
    if times[1] <= times[0] or standing.agreement != proved.digest:
        raise _unproved("The market speaks of another agreement, or it has no time")
    if first.digest != second.digest or set(people) != set(sides):
        raise _unproved("The signatures are not of both sides of one agreement")
    if not all(_verified(proof.signatures, people[side]) for side in sides):
        raise _unproved("A side of the agreement did not sign it")
    signer = people[proved.agreement.consumer].get(proof.named.signer)
    if signer is None:
        raise _unproved("The release is named by nobody of the consumer's")
    open_document(proof.named, expect=AgreedRelease, member=signer, now=now)
    if proved.named.agreement != proved.digest:
        raise _refused("The release is named under another agreement", "named")
    return proved


def read_proof(proof: AgreementProof) -> ProvedAgreement:
    """What a proof shows that was verified before, by `open_proof`."""
    return _read(proof)[0]


def _read(proof: AgreementProof) -> tuple[ProvedAgreement, dict[str, dict[Digest, Member]]]:
    """What a proof says, and the people of each organisation by their keys; nothing is verified."""
    records = [OrganisationRecord.parse(one.body) for one in proof.organisations]
    people = {record.name: {m.key.thumbprint: m for m in record.members} for record in records}
    (first, _) = proof.signatures
    agreed = Agreement.parse(first.body)
    named = AgreedRelease.parse(proof.named.body)
    consumers = frozenset(one.person for one in people.get(agreed.consumer, {}).values())
    stood_at = StandingAgreement.parse(proof.standing.body).at
    return ProvedAgreement(first.digest, agreed, named, consumers, stood_at), people


def _verified(signatures: list[Signed], people: Mapping[Digest, Member]) -> bool:
    """Whether somebody of a side signed."""
    for one in signatures:
        member = people.get(one.signer)
        if member is not None:
            open_message(one, expect=Agreement, trusted={one.signer: member.key})
            return True
    return False


def prove_asked(
    proof: AgreementProof, asked: ReleaseSubject, *, by: ProvedBy, now: datetime
) -> ProvedAgreement:
    """What a proof shows, of a release that its agreement covers now.

    Raises:
        GridSecureError: As `open_proof` and `check_asked`.
    """
    proved = open_proof(proof, by=by, now=now)
    check_asked(proved, asked, now=now)
    return proved


def missing_error(purpose: str, why: str) -> ReleaseRefusedError:
    """No agreement covers a release of this purpose."""
    return ReleaseRefusedError(
        f"The policy wants an agreement for {purpose}: {why}",
        reason=MISSING,
        remedy="Have the consumer name one for this request (gridsecure market name-release).",
    )


def check_asked(proved: ProvedAgreement, asked: ReleaseSubject, *, now: datetime) -> None:
    """Refuse a release that its agreement is not about.

    Whoever asks for research has a pseudonym, and there the consumer's signature, which names the
    request, is all that says whose it is.

    Raises:
        ReleaseRefusedError: The agreement was named for another release (`agreement.named`); it is
            of another plan or purpose (`agreement.purpose`), under another policy than was agreed
            (`agreement.other-policy`), before or after its time (`agreement.period`), or asked for
            by somebody else (`agreement.requester`).
    """
    agreed = proved.agreement
    if proved.named.release != asked.request_id:
        raise _refused("The agreement was named for another release", "named")
    if (asked.plan, asked.purpose) != (agreed.plan, agreed.purpose):
        raise _refused("The agreement is about another plan or purpose", "purpose")
    if asked.policy != agreed.policy:
        raise _refused("The agreement was made under another release policy", "other-policy")
    if not moment(agreed.begins_at) <= now < moment(agreed.ends_at):
        raise _refused("The agreement is not of this time", "period")
    if asked.purpose != RESEARCH and asked.requested_by not in proved.consumers:
        raise _refused("Nobody of the consumer's people asked for the release", "requester")


def _unproved(why: str) -> AuthenticityError:
    return AuthenticityError(
        f"{why}.",
        reason="agreement.proof",
        remedy="Have it put together by gridsecure market name-release, from what the market has.",
    )


def _refused(why: str, code: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        f"{why}.",
        reason=f"agreement.{code}",
        remedy="Name an agreement of this plan, purpose, policy and time (gridsecure market list).",
    )
