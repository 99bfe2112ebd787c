"""What the billing office does with a month's release: opens bills, and compares and assigns them.

A statement goes from the key authority to the office, sealed, and from there to nobody. Whose it is
each account proves: the office learns account and bill, and not the pseudonym that readings were
uploaded under.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gridsecure.bill_receipts import BillReceipt, ReceiptTree
from gridsecure.credentials.seats import settlement_domain
from gridsecure.credentials.settlement import verify_settlements
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, NotFoundError, SignatureError
from gridsecure.messages import FIRST_REVISION, ReleaseCertificate, Signed, open_message
from gridsecure.offices.officers import Call
from gridsecure.statement_checks import (
    EXPECTED_PURPOSE,
    STATEMENTS_PURPOSE,
    Digests,
    ExpectedBills,
)

MAX_ACCOUNTS: Final = 4096
"""Accounts of one request."""


@dataclass(frozen=True, slots=True)
class ProvenAccounts:
    """Whose bills a month's are.

    Args:
        names: Settlement name -> meter point, by holder.
        parts: Meter point -> start and end of the days that it is billed for, where it moved in or
            out within the month.
    """

    names: dict[str, str]
    parts: dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class BillingOffice:
    """The office at work; every method raises what the services refuse with, besides its own.

    Args:
        call: Calls the services as a member of the billing staff.
        key: The office's, which statements are sealed to.
    """

    call: Call
    key: Sm2PrivateKey = field(repr=False)
    authority: Sm2PublicKey
    gateway: Sm2PublicKey

    def fetch_certificates(self, *, start: str) -> dict[str, Signed]:
        """Certificates of a month's releases of bills and corrections, verified, by release id.

        They have no values: gateways are shown them, and no gateway reads another area's figures.

        Args:
            start: The month's start, ISO 8601.

        Raises:
            AuthenticityError: One is not the key authority's.
            NotFoundError: There are none (`period.nothing-released`).
        """
        found = {}
        for item in self.call("authority", "GET", "/releases"):
            if item["plan"] in ("bill", "rebill") and item["start"] == start:
                path = f"/releases/{item['release_id']}"
                asked = self.call("authority", "GET", path, params={"values": "false"})
                envelope = Signed.model_validate(asked)
                self._read(envelope)
                found[item["release_id"]] = envelope
        if not found:
            raise NotFoundError(
                "No bills of this month were released.",
                reason="period.nothing-released",
                remedy="Have the month's bills released first, or check month and time zone.",
            )
        return found

    def open_statements(self, certificates: Mapping[str, Signed]) -> list[bytes]:
        """The statements of releases, one document a roster and version.

        Args:
            certificates: From `fetch_certificates`.

        Raises:
            AuditBrokenError: A statement is not the one that was certified (`audit.object`).
            EnvelopeError: It does not open.
        """
        statements = []
        for release_id, envelope in certificates.items():
            for roster_id, digest in self._read(envelope).statements.items():
                sealed = self.call("authority", "GET", f"/statements/{release_id}/{roster_id}")
                if sm3_hex(sealed) != digest:
                    raise AuditBrokenError(
                        "A roster's statements differ from the certified ones.",
                        reason="audit.object",
                        remedy="Find out what altered them at the key authority.",
                    )
                opened = open_from(sealed, private_key=self.key, purpose=STATEMENTS_PURPOSE)
                statements.append(opened)
        return statements

    def fetch_expected_digests(self, month: str, certificates: Mapping[str, Signed]) -> Digests:
        """What the gateway expects of bills and corrections, as far as they are its own.

        Args:
            month: YYYY-MM.
            certificates: From `fetch_certificates`.

        Raises:
            AuthenticityError: The answer is not the gateway's, or not sealed to the office.
        """
        shown = [envelope.model_dump() for envelope in certificates.values()]
        sealed = self.call("gateway", "POST", f"/months/{month}/expected-bills", json=shown)
        text = open_from(sealed, private_key=self.key, purpose=EXPECTED_PURPOSE)
        trusted = {self.gateway.thumbprint: self.gateway}
        return open_message(Signed.parse(text), expect=ExpectedBills, trusted=trusted).digests

    def prove_accounts(self, *, month: str, start: str) -> ProvenAccounts:
        """Have every account of the gateway prove its settlement pseudonym.

        Args:
            month: The month, YYYY-MM.
            start: Its start, ISO 8601.

        Raises:
            SignatureError: A pseudonym is not that account's, or one is of an account without an
                enrolled key (`authenticity.settlement`).
        """
        suite, domain, challenge = sm2_suite(), settlement_domain(start), secrets.token_bytes(32)
        suite.group.prepare(domain.base(suite))
        path, wanted = f"/months/{month}/settlement-proofs", {"challenge": challenge.hex()}
        answer = self.call("gateway", "POST", path, json=wanted)
        pseudonyms = answer["pseudonyms"]
        keys = self._enrolled_keys(sorted(pseudonyms))
        # Of whom there is no key, the proof cannot be checked, and it is one for all.
        subjects = verify_settlements(
            [
                (bytes.fromhex(pseudonyms[name]), suite.group.decode(bytes.fromhex(keys[name])))
                for name in sorted(keys)
            ],
            bytes.fromhex(answer["proof"]),
            domain=domain,
            challenge=challenge,
            suite=suite,
        )
        # What it says of an account that it proved nothing for counts for nothing.
        told = ((name, answer["parts"][name]) for name in keys if name in answer["parts"])
        parts = {name: (str(first), str(end)) for name, (first, end) in told}
        return ProvenAccounts(dict(zip(subjects, sorted(keys), strict=True)), parts)

    def fetch_receipts(self, month: str) -> list[BillReceipt]:
        """The gateway's receipts of a month's bills and corrections, for their statements.

        Args:
            month: YYYY-MM.
        """
        trees = self.call("gateway", "GET", f"/months/{month}/bill-receipts")
        return [one for tree in trees for one in ReceiptTree.model_validate(tree).receipts()]

    def _enrolled_keys(self, names: Sequence[str]) -> dict[str, str]:
        keys: dict[str, str] = {}
        for start in range(0, len(names), MAX_ACCOUNTS):
            wanted = {"identities": names[start : start + MAX_ACCOUNTS]}
            keys |= self.call("identity", "POST", "/accounts/keys", json=wanted)["keys"]
        return keys

    def _read(self, envelope: Signed) -> ReleaseCertificate:
        trusted = {self.authority.thumbprint: self.authority}
        return open_message(envelope, expect=ReleaseCertificate, trusted=trusted)


def assign_bills(statements: Sequence[bytes], accounts: ProvenAccounts) -> dict[str, Any]:
    """A bill document by meter point, of statements that were opened.

    Whoever moved in or out within the month is told its days (`served`): only the gateway and this
    office know them.

    Raises:
        SignatureError: As `check_owners`.
    """
    check_owners(statements, accounts.names)
    meters: dict[str, dict[str, Any]] = {}
    for data in statements:
        for subject, bill in json.loads(data)["meters"].items():
            name = accounts.names[subject]
            own = accounts.parts.get(name)
            served = {} if own is None else {"served": {"start": own[0], "end": own[1]}}
            periods = meters.setdefault(name, {"periods": []})["periods"]
            periods += [{**period, **served} for period in bill["periods"]]
    for bill in meters.values():
        bill["periods"].sort(key=lambda period: period.get("version", FIRST_REVISION))
    return {"meters": dict(sorted(meters.items()))}


def attach_receipts(document: Mapping[str, Any], receipts: Sequence[BillReceipt]) -> None:
    """Put each receipt beside the bill of a document that it is of.

    A bill that was uploaded before there were receipts has none.
    """
    by_bill = {
        (own.meter_point_id, own.start, own.version): one
        for one in receipts
        for own in [one.commitment]
    }
    for name, bill in document["meters"].items():
        for period in bill["periods"]:
            found = by_bill.get((name, period["start"], period.get("version", FIRST_REVISION)))
            if found is not None:
                period["receipt"] = found.model_dump()


def check_owners(statements: Sequence[bytes], accounts: Mapping[str, str]) -> None:
    """Refuse statements of a settlement pseudonym that no account proved.

    Raises:
        SignatureError: There is one (`authenticity.settlement`).
    """
    named = {name for data in statements for name in json.loads(data)["meters"]}
    if not named <= accounts.keys():
        raise SignatureError(
            "No account proved the settlement pseudonym of a statement.",
            reason="authenticity.settlement",
            remedy="Ask the meter point's agent for its settlement proof.",
        )
