"""How the billing office checks released statements against what gateways expect of them.

The key authority computes bills on ciphertexts and seals them to the office. The gateway, which
holds its area's readings, bills the same month in the clear and tells the office a digest of each
bill, sealed to the office as well. The office compares.

Why this way round. The office is given every statement anyhow, so a digest of a bill that agrees
tells it nothing; of one that differs it learns that it does. A gateway is entitled to its own area
alone, so it is shown no statement. A digest is given only once the key authority has released the
bill, so that nobody reads bills at a gateway that were not released. Digests of small numbers can
be guessed back: that is why they are sealed, and a role at the office without its key is not
enough.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InvalidMessageError
from gridsecure.messages import FIRST_REVISION, Digest, Message

STATEMENTS_PURPOSE: Final = "statements"
"""What the key authority seals bills to the office for."""
EXPECTED_PURPOSE: Final = "expected-bills"
"""What the gateway's answer is sealed for."""
MAX_NAMED: Final = 20
"""Differing bills that are named."""

Names = Mapping[str, Mapping[str, Any]]
"""Roster id -> settlement pseudonym -> the bill or correction as a public document."""
Digests = Mapping[tuple[str, int], Mapping[str, Digest]]
"""Roster id and version -> settlement pseudonym -> `bill_digest`."""


class ExpectedVersion(Message):
    """One version of a roster's bills.

    Args:
        version: 1 for first bills, and one more for each correction.
        bills: Settlement pseudonym -> `bill_digest` of the bill or correction.
    """

    kind: ClassVar[str] = "expected-version"
    roster_id: str
    version: int
    bills: dict[str, Digest]


class ExpectedBills(Message):
    """A gateway tells the billing office what it expects of released statements.

    Args:
        month: YYYY-MM.
        versions: What was released of its rosters, version by version.
    """

    kind: ClassVar[str] = "expected-bills"
    month: str
    versions: list[ExpectedVersion]

    @property
    def digests(self) -> Digests:
        """By roster and version."""
        return {(item.roster_id, item.version): item.bills for item in self.versions}


@dataclass(frozen=True, slots=True)
class StatementCheck:
    """What the office found.

    Args:
        bills: Bills in the statements, `corrections` among them.
        mismatches: Bills and corrections that differ in anything, plus those on one side only.
        differing: Settlement pseudonyms of the first `MAX_NAMED` of those, sorted.
    """

    bills: int
    corrections: int
    lines: int
    mismatches: int
    differing: tuple[str, ...]


def bill_digest(document: Mapping[str, Any]) -> Digest:
    """SM3 of a bill's public JSON in one spelling: all lines and totals, exact and rounded."""
    return sm3_hex(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def bill_digests(*bills: Names) -> Digests:
    """The digest of every bill and correction, by roster, version and settlement pseudonym.

    Raises:
        InvalidMessageError: A document's version is no number (`message.statement`).
    """
    digests: dict[tuple[str, int], dict[str, Digest]] = {}
    for names in bills:
        for roster_id, meters in names.items():
            for name, document in meters.items():
                own = digests.setdefault((roster_id, _version(document)), {})
                own[name] = bill_digest(document)
    return digests


def check_statements(expected: Digests, *, statements: Sequence[bytes]) -> StatementCheck:
    """Compare opened statements with the digests that gateways expect.

    Args:
        expected: From `ExpectedBills`, of all gateways together.
        statements: Statement documents as JSON, one a roster and version.

    Raises:
        InvalidMessageError: A document is not a statement, or a roster's version comes twice
            (`message.statement`).
    """
    found: dict[tuple[str, int], Mapping[str, Digest]] = {}
    bills: list[Mapping[str, Any]] = []
    for data in statements:
        roster_id, meters = _statement(data)
        own = bill_digests({roster_id: meters})
        if own.keys() & found.keys():
            raise _malformed("A roster's statements arrived twice.")
        found |= own
        bills += meters.values()
    differing = [
        name
        for version in expected.keys() | found.keys()
        for name in _differing(expected.get(version, {}), found.get(version, {}))
    ]
    return StatementCheck(
        bills=len(bills),
        corrections=sum(1 for bill in bills if _version(bill) > FIRST_REVISION),
        lines=sum(len(period["lines"]) for bill in bills for period in bill.get("periods", ())),
        mismatches=len(differing),
        differing=tuple(sorted(set(differing))[:MAX_NAMED]),
    )


def _version(document: Mapping[str, Any]) -> int:
    """The version of a bill; a first bill does not say its own."""
    match document:
        case {"periods": [{"version": int(version)}, *_]}:
            return version
        case {"periods": [{"version": _}, *_]}:
            raise _malformed("The version of a bill is not a number.")
    return FIRST_REVISION


def _differing(expected: Mapping[str, Digest], given: Mapping[str, Digest]) -> list[str]:
    """Pseudonyms on one side only, or with another bill."""
    names = expected.keys() | given.keys()
    return [name for name in names if expected.get(name) != given.get(name)]


def _statement(data: bytes) -> tuple[str, dict[str, Any]]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _malformed("A statement document is not JSON.") from error
    if not isinstance(document, dict) or set(document) != {"roster_id", "meters"}:
        raise _malformed("A statement document holds a roster_id and meters.")
    roster_id, meters = document["roster_id"], document["meters"]
    if not isinstance(roster_id, str) or not isinstance(meters, dict):
        raise _malformed("A statement document holds a roster_id and meters.")
    if not all(isinstance(bill, dict) for bill in meters.values()):
        raise _malformed("A bill of a statement document is not an object.")
    return roster_id, meters


def _malformed(message: str) -> InvalidMessageError:
    return InvalidMessageError(
        message,
        reason="message.statement",
        remedy="Open the release's statements again, one document a roster.",
    )
