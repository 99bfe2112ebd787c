"""Registering: a presentation becomes pseudonyms that may act. Nobody here knows who they are.

1. The challenge is ours, and now used.
2. The presentation verifies for its occasion. It takes the issuer's private key, because these
   credentials are checked by the key that makes them. Its facts are kept with the registration.
3. Earlier pseudonyms shown along are registered, and no pseudonym was revoked.
4. The pseudonym takes its holder key, or the alarm rings.

Of the domains shown, those of the credential's own period are registered. The holder acts in the
first, under the key the presentation is bound to; a second one is where its bills are, and nobody
acts there. Domains of another period are earlier pseudonyms, each carried on by that of the same
platform and purpose, and by no other: whoever reads one registration must not learn of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Engine
from sqlmodel import Session

from gridsecure.credentials.access import batch_challenge
from gridsecure.credentials.issuer_keys import Context, IssuerPrivateKey
from gridsecure.credentials.log_details import (
    ACTOR,
    REGISTERED,
    commitment,
    leaf,
    name_digest,
)
from gridsecure.credentials.presentations import (
    Domain,
    Occasion,
    PublicKeys,
    Verified,
    subject,
    verify_presentations,
)
from gridsecure.credentials.suites import Suite
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import GridSecureError, InputError, InvalidMessageError
from gridsecure.identity.registrations.leaves import keep_leaves
from gridsecure.identity.registrations.registry import (
    CHALLENGES,
    Registration,
    keep_registrations,
    not_registered_error,
)
from gridsecure.identity_messages import Facts
from gridsecure.store.database import write_session
from gridsecure.store.evidence import JSON, append

MOST_DOMAINS: Final = 2
"""Of one period: where the holder acts, and where its bills are."""

Outcome = tuple[Registration, ...] | GridSecureError


@dataclass(frozen=True, slots=True)
class ReceivedPresentation:
    """What one of many holders shows.

    Args:
        holder: The SM2 key that will act [65 bytes].
        facts: What it says that its credential certifies; the presentation proves it.
    """

    holder: bytes
    message: bytes
    facts: Facts


@dataclass(frozen=True, slots=True)
class Registrar:
    """The identity authority's registering side.

    Args:
        key: The issuer's key, to verify with.
    """

    suite: Suite
    keys: PublicKeys
    key: IssuerPrivateKey = field(repr=False)
    engine: Engine = field(repr=False)

    def register(
        self, message: bytes, *, occasion: Occasion, now: datetime
    ) -> tuple[Registration, ...]:
        """Register the pseudonyms of one presentation, as the module says.

        Args:
            occasion: What it must be bound to; its first domain is of the credential's period.
            now: The present, aware.

        Returns:
            The registrations of this period, in the order of their domains.

        Raises:
            InvalidMessageError: A malformed presentation.
            SignatureError: It does not verify (`authenticity.presentation`).
            StaleMessageError: The challenge (`authenticity.challenge`).
            AccessDeniedError: A domain of another period only, a revoked pseudonym, or an earlier
                one that is not registered (`authenticity.registration`); a clone
                (`authenticity.cloned`).
        """
        check_domains(occasion.domains, period=occasion.context.period)
        CHALLENGES.use(self.engine, value=occasion.challenge, now=now)
        outcomes = self._check([(message, occasion)])
        (kept,) = self._keep(outcomes, context=occasion.context, now=now)
        if isinstance(kept, GridSecureError):
            raise kept
        return kept

    def register_all(
        self,
        shown: Sequence[ReceivedPresentation],
        *,
        context: Context,
        domains: tuple[Domain, ...],
        challenge: bytes,
        now: datetime,
    ) -> list[Outcome]:
        """Register many holders that answer one challenge, each on its own.

        Args:
            shown: What they show, each bound to `batch_challenge` of its place.
            context: Role and period of all their credentials; each brings its own facts.
            domains: Where all of them are shown.
            challenge: Given out by this service.
            now: The present, aware.

        Returns:
            By holder its registrations of this period, or why there are none.

        Raises:
            StaleMessageError: The challenge (`authenticity.challenge`).
            InvalidMessageError: Domains that cannot be registered together (`identity.domain`).
            AccessDeniedError: The first domain is of another period
                (`authenticity.registration`).
        """
        check_domains(domains, period=context.period)
        # 1. challenge
        CHALLENGES.use(self.engine, value=challenge, now=now)
        # 2. presentations
        malformed: dict[int, Outcome] = {}
        sent: dict[int, tuple[bytes, Occasion]] = {}
        for at, one in enumerate(shown):
            try:
                holder, bound = Sm2PublicKey(one.holder), batch_challenge(challenge, at)
                sent[at] = one.message, Occasion(context.certify(one.facts), domains, holder, bound)
            except InputError as refused:
                malformed[at] = refused
        found = malformed | dict(zip(sent, self._check(list(sent.values())), strict=True))
        outcomes = [found[at] for at in range(len(shown))]
        # 3 and 4. earlier pseudonyms, and holder keys
        return self._keep(outcomes, context=context, now=now)

    def _check(self, sent: Sequence[tuple[bytes, Occasion]]) -> list[Outcome]:
        found = verify_presentations(sent, keys=self.keys, key=self.key, suite=self.suite)
        return [
            self._registrations(one, occasion) if isinstance(one, Verified) else one
            for one, (_, occasion) in zip(found, sent, strict=True)
        ]

    def _registrations(self, shown: Verified, occasion: Occasion) -> tuple[Registration, ...]:
        pairs = list(zip(occasion.domains, shown.nyms, strict=True))
        names = {domain: subject(nym, domain=domain, suite=self.suite) for domain, nym in pairs}
        present = [pair for pair in pairs if pair[0].period == occasion.context.period]
        settlement = names[present[1][0]] if len(present) == MOST_DOMAINS else ""
        return tuple(
            Registration(
                names[domain],
                domain.text,
                self.suite.group.encode(nym),
                b"" if place else occasion.holder.point,
                shown.escrow.to_bytes(self.suite),
                carried=tuple(names[other] for other in names if _earlier(other, domain)),
                role=occasion.context.role,
                settlement="" if place else settlement,
                facts=occasion.context.facts,
            )
            for place, (domain, nym) in enumerate(present)
        )

    def _keep(self, outcomes: list[Outcome], *, context: Context, now: datetime) -> list[Outcome]:
        verified = {at: one for at, one in enumerate(outcomes) if isinstance(one, tuple)}
        if not verified:  # nothing to keep: whoever sends rubbish writes no evidence
            return outcomes
        with write_session(self.engine) as session:
            refusals = keep_registrations(session, list(verified.values()), now=now)
            for at, refusal in zip(verified, refusals, strict=True):
                outcomes[at] = refusal or outcomes[at]
            self._note(session, outcomes, context=context, now=now)
        return outcomes

    def _note(
        self, session: Session, outcomes: Sequence[Outcome], *, context: Context, now: datetime
    ) -> None:
        kept = [one for one in outcomes if isinstance(one, tuple)]
        # With the escrow, so that a warrant or search for another one can be shown up afterwards.
        leaves = [
            leaf(name_digest(entry.subject), entry.escrow) for entries in kept for entry in entries
        ]
        detail: dict[str, JSON] = {
            "role": context.role,
            "period": context.period,
            "registered": len(kept),
            "refused": len(outcomes) - len(kept),
            "digest": commitment(leaves),
        }
        entry = append(session, at=now, actor=ACTOR, action=REGISTERED, detail=detail)
        keep_leaves(session, entry, leaves, now=now)


def check_domains(domains: Sequence[Domain], *, period: str) -> None:
    """Refuse domains that a credential of one period cannot be registered in.

    Args:
        domains: Where it is shown.

    Raises:
        InvalidMessageError: More than an acting and a settlement domain of this period, or an
            earlier one that none of them carries on (`identity.domain`).
        AccessDeniedError: The first is of another period (`authenticity.registration`).
    """
    present = [domain for domain in domains if domain.period == period]
    if domains[0].period != period:
        raise not_registered_error()
    carried = [domain for domain in domains if any(_earlier(domain, other) for other in present)]
    if len(present) > MOST_DOMAINS or len(present) + len(carried) != len(domains):
        raise InvalidMessageError("The domains are malformed.", reason="identity.domain")


def _earlier(domain: Domain, other: Domain) -> bool:
    """Whether a domain is another's in another period."""
    place = (domain.platform, domain.purpose)
    return place == (other.platform, other.purpose) and domain.period != other.period
