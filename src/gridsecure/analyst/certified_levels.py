"""What a certificate says of its security level, held to that level's text, offline.

A certificate names the digest of the level that its deployment is held to. The digest alone is the
key authority's word. What the certificate itself shows of the switches is compared with the text:
the fewest customers, the largest share of one, who approved and how, and the noise. Custody,
sandbox and builds leave no trace in a certificate; of these it remains a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gridsecure.approvals import (
    ReleaseApproval,
    ReleaseAuthorisation,
    ReleaseSubject,
    subject_digest,
)
from gridsecure.errors import ReleaseRefusedError
from gridsecure.messages import Digest, ReleaseCertificate, Signed
from gridsecure.plans.cells import BILLS, OTHER_CLASSES, WHOLE
from gridsecure.plans.noise import read_epsilon
from gridsecure.plans.purposes import RESEARCH
from gridsecure.policy.levels import (
    Level,
    Shortfall,
    find_level,
    find_weaker_switches,
    refuse_shortfalls,
)

_WHOSE: Final = "the certificate"


def check_certified_level(
    certificate: ReleaseCertificate, *, wanted: Level | None = None
) -> Level | None:
    """The level of a certificate, of which all that it shows was found to keep it.

    Args:
        certificate: Whose signature was verified.
        wanted: The level that it has to have, or a stricter one.

    Returns:
        The level; None where the certificate names none, or one that does not ship and is not
        the wanted one.

    Raises:
        ReleaseRefusedError: It has no level, an unknown or a weaker one where one is wanted
            (`level.uncertified`).
        InputError: It shows something that falls below its level (`level.below`).
    """
    level = _named(certificate, wanted)
    if wanted is not None and (level is None or find_weaker_switches(level, wanted)):
        raise ReleaseRefusedError(
            f"The certificate is not of the security level {wanted.name}, nor of a stricter one.",
            reason="level.uncertified",
            remedy="Ask the key authority's operator which level its services are started with.",
        )
    if level is not None:
        refuse_shortfalls(level, _find_shortfalls(level, certificate), whose=_WHOSE)
    return level


def _named(certificate: ReleaseCertificate, wanted: Level | None) -> Level | None:
    if wanted is not None and certificate.level == wanted.digest:
        return wanted
    return find_level(certificate.level)


def _find_shortfalls(level: Level, certificate: ReleaseCertificate) -> Iterator[Shortfall]:
    yield from _fewer_customers(level, certificate)
    yield from _fewer_officers(level, certificate)
    subject = ReleaseSubject.parse(certificate.subject)
    if level.noise is not None and RESEARCH in (subject.purpose, certificate.purpose):
        epsilon = read_epsilon(subject.epsilon) or 0
        if not 0 < epsilon <= level.noise.terms.epsilon:
            yield Shortfall(
                "noise",
                f"told {level.noise.terms.said}",
                f"told at ε {subject.epsilon or 'unlimited'}",
            )


def _fewer_customers(level: Level, certificate: ReleaseCertificate) -> Iterator[Shortfall]:
    for resolution, by_class in certificate.minima.items():
        # A class that only the level names is told of by what the certificate says of all others.
        for customer_class in sorted({*by_class, *level.groups}):
            wanted = level.group_of(customer_class)
            by_measure = by_class.get(customer_class, by_class.get(OTHER_CLASSES, {}))
            if not by_measure:
                continue
            if any(minimum < wanted.minimum for minimum in by_measure.values()):
                least = min(by_measure.values())
                yield Shortfall(
                    "groups", f"{customer_class}: at least {wanted.minimum}", f"{least}"
                )
            if by_measure.keys() == {BILLS}:
                continue  # a number of bills has no share
            shares = certificate.dominance.get(resolution, {})
            share = shares.get(customer_class, shares.get(OTHER_CLASSES, WHOLE))
            if share > wanted.dominance:
                said = f"{customer_class}: none above {wanted.dominance} %"
                yield Shortfall("groups", said, f"{share} %")


def _fewer_officers(level: Level, certificate: ReleaseCertificate) -> Iterator[Shortfall]:
    about = subject_digest(certificate.subject)
    roles = dict(filter(None, (_read(one, about) for one in certificate.approvals)))
    missing = sorted(set(level.approvals.roles) - roles.keys())
    if missing:
        yield Shortfall("approvals", f"approval of {', '.join(missing)}", "there is none")
    if any(roles.values()) and not level.approvals.standing:
        yield Shortfall("approvals", "each release approved by itself", "a standing authorisation")


def _read(envelope: Signed, about: Digest) -> tuple[str, bool] | None:
    """The role of whoever approved, and whether in advance; `approval check` verifies by keys.

    Args:
        about: Digest of what was approved: of what is rejected, or about something else, is None.
    """
    if envelope.body_kind == ReleaseAuthorisation.kind:
        return ReleaseAuthorisation.parse(envelope.body).role, True
    said = ReleaseApproval.parse(envelope.body)
    is_it = (said.decision, said.subject) == ("approve", about)
    return (said.role, False) if is_it else None
