"""What a gateway tells the billing office to compare released statements with.

When the key authority has released bills or corrections, the office asks for the digests of the
oracle's: by settlement pseudonym, signed, sealed to the office, of what was released alone
(`statement_checks` says why). No bill leaves the gateway, no statement comes to it, and the
pseudonym that anything was uploaded under is not told.

A certificate names rosters, and no versions. It need not: the key authority releases a correction
once, and not before the version that it corrects. So the n-th certificate of corrections that names
a roster id is about the n-th correction that was uploaded under it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gridsecure.crypto.envelope import seal_to
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import InputError
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.correction_plan import CorrectionPlan, list_corrections
from gridsecure.gateway.correction_versions import compute_expected_corrections
from gridsecure.gateway.month_plan import load_plan
from gridsecure.gateway.reconciliation import Document, compute_expected_bills
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import ReleaseCertificate, Signed, open_message, sign_message
from gridsecure.statement_checks import (
    EXPECTED_PURPOSE,
    ExpectedBills,
    ExpectedVersion,
    bill_digests,
)


@dataclass(frozen=True, slots=True)
class _Released:
    """What certificates say was released.

    Args:
        first: Roster ids of first bills.
        corrections: Roster id -> how many of its corrections.
    """

    first: frozenset[str]
    corrections: Mapping[str, int]


def seal_expected(
    zone: GatewayZone,
    files: MonthFiles,
    *,
    certificates: Sequence[Signed],
    office: Sm2PublicKey,
    at: datetime,
) -> bytes:
    """Tell the billing office the digests of the oracle's bills, as far as they were released.

    Args:
        certificates: Of the month's releases, the earlier ones of a roster never left out.

    Returns:
        A signed `ExpectedBills`, sealed to the office.

    Raises:
        AuthenticityError: A certificate is not the key authority's.
        InputError: A certificate releases no bills of this month (`message.certificate`).
        NotFoundError: As `compute_expected_bills` and `compute_expected_corrections`.
    """
    released = _read_certificates(zone, files, certificates)
    bills = compute_expected_bills(zone, files) if released.first else {}
    known = {name: meters for name, meters in bills.items() if name in released.first}
    digests = bill_digests(known, *_corrections(zone, files, released.corrections))
    versions = [
        ExpectedVersion(roster_id=roster_id, version=version, bills=dict(names))
        for (roster_id, version), names in sorted(digests.items())
    ]
    told = ExpectedBills(month=files.month, versions=versions)
    return seal_to(
        sign_message(told, key=zone.signing_key).model_dump_json().encode(),
        recipient=office,
        purpose=EXPECTED_PURPOSE,
        owner=files.month,
        created_at=at,
    )


def _read_certificates(
    zone: GatewayZone, files: MonthFiles, certificates: Sequence[Signed]
) -> _Released:
    plan = load_plan(zone, files.month)
    read = {}
    for envelope in certificates:
        certificate = open_message(envelope, expect=ReleaseCertificate, trusted=zone.authority)
        is_of_month = (certificate.start, certificate.end) == (plan.start, plan.end)
        if certificate.plan not in ("bill", "rebill") or not is_of_month:
            raise InputError(
                "A certificate does not release bills of this month.",
                reason="message.certificate",
                remedy="Send the certificates of the month's releases of bills and corrections.",
            )
        read[certificate.release_id] = certificate  # shown twice, it still released once
    named = [(one.plan, roster) for one in read.values() for roster in one.statements]
    return _Released(
        first=frozenset(roster for plan, roster in named if plan == "bill"),
        corrections=Counter(roster for plan, roster in named if plan == "rebill"),
    )


def _corrections(
    zone: GatewayZone, files: MonthFiles, released: Mapping[str, int]
) -> Iterator[dict[str, Document]]:
    """The oracle's documents of each correction, as far as it was released."""
    left = dict(released)
    for correction in list_corrections(zone, files.month):
        wanted = _take(left, correction)
        if wanted:
            found = compute_expected_corrections(zone, files, correction=correction.files)
            yield {name: meters for name, meters in found.items() if name in wanted}


def _take(left: dict[str, int], correction: CorrectionPlan) -> set[str]:
    """The rosters of a correction that were released, and no longer left of those."""
    taken = {item.roster_id for item in correction.rosters if left.get(item.roster_id, 0) > 0}
    for roster_id in taken:
        left[roster_id] -= 1
    return taken
