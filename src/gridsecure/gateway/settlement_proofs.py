"""For the billing office: that a settlement pseudonym, under which a bill comes, is an account's.

The gateway, which has the meter points' agents, proves of all of them by one proof that pseudonym
in the settlement domain and enrolled key have one secret. The office knows whose key that is; it
learns which bill is whose, and not under which pseudonym anything was uploaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from gridsecure.credentials import settlement
from gridsecure.credentials.seats import settlement_domain
from gridsecure.errors import InvalidMessageError
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import recall_members
from gridsecure.gateway.agents import agents_of
from gridsecure.gateway.correction_books import latest_books
from gridsecure.gateway.correction_plan import find_first_uploads
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import load_plan
from gridsecure.gateway.zone import GatewayZone
from gridsecure.month_texts import year_text

CHALLENGE_BYTES = 32


@dataclass(frozen=True, slots=True)
class ProvenPseudonyms:
    """What `credentials.settlement` made for a month.

    Args:
        pseudonyms: By meter point, in the order that the proof has them.
        proof: Of all of them together.
    """

    pseudonyms: dict[str, bytes]
    proof: bytes


def find_parts(zone: GatewayZone, month: str) -> dict[str, tuple[str, str]]:
    """Start and end of the days that meter points are billed for which have a part of the month.

    By the books that it was corrected by last.

    Args:
        month: YYYY-MM.

    Returns:
        Meter point, by holder -> two moments, ISO 8601.

    Raises:
        NotFoundError: The month was not processed here.
    """
    load_plan(zone, month)
    found = latest_books(zone, load_files(zone, month)).parts(zone.period(month)).items()
    return {name: (start.isoformat(), end.isoformat()) for name, (start, end) in found}


def prove_settlements(zone: GatewayZone, month: str, *, challenge: bytes) -> ProvenPseudonyms:
    """Prove the settlement pseudonyms of a month's billed meter points.

    Args:
        month: YYYY-MM.
        challenge: The billing office's, good for one use [32 bytes].

    Raises:
        InvalidMessageError: A challenge of another length (`message.challenge`).
        NotFoundError: The month was not processed here, or not to the end of encryption.
    """
    if len(challenge) != CHALLENGE_BYTES:
        raise InvalidMessageError(
            "The challenge has the wrong length.",
            reason="message.challenge",
            remedy=f"Draw {CHALLENGE_BYTES} bytes at random, and use them once.",
        )
    plan = load_plan(zone, month)
    names = {
        one.billing: meter for meter, one in recall_members(zone, year_text(plan.start)).items()
    }
    billed = [
        subject
        for name, _ in find_first_uploads(zone, month).values()
        for subject in outbox.load_outgoing(zone, name).seated.pseudonyms
    ]
    agents, domain = agents_of(zone), settlement_domain(plan.start)
    agents.prepare(domain)
    meter_points = sorted({names[subject] for subject in billed})
    pseudonyms, proof = settlement.prove_settlements(
        [agents.meter_point(name).holder.m1 for name in meter_points],
        domain=domain,
        challenge=challenge,
        suite=agents.suite,
    )
    return ProvenPseudonyms(dict(zip(meter_points, pseudonyms, strict=True)), proof)
