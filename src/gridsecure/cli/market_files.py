"""Documents of the market as files: what is to be signed, and what was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gridsecure.circulation.agreed_releases import AgreedRelease, AgreementProof
from gridsecure.circulation.kinds import kind_named
from gridsecure.circulation.organisations import OrganisationRecord
from gridsecure.circulation.products import ProductDesign
from gridsecure.circulation.trade import Agreement, check_agreement, make_agreement
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import InputError
from gridsecure.messages import Digest, Message, Signed, sign_message
from gridsecure.offices.officers import Call
from gridsecure.policy.language import parse_policy

_KIND = "kind"


def read_document(path: Path, *, signed_at: str) -> Message:
    """A document that is to be signed.

    Args:
        signed_at: Stands where the file says no time.

    Raises:
        InputError: The file cannot be read, or names no kind (`market.file`, `market.kind`).
        InvalidMessageError: It has another shape.
    """
    try:
        fields: Any = json.loads(_text(path))
    except ValueError as error:
        raise _unreadable(path) from error
    if not isinstance(fields, dict):
        raise _unreadable(path)
    kind = kind_named(str(fields.pop(_KIND, "")))
    if "signed_at" in kind.model_fields:
        fields.setdefault("signed_at", signed_at)
    return kind.parse(json.dumps(fields))


def document_text(message: Message) -> str:
    """A document as `read_document` reads it."""
    fields = {_KIND: message.kind} | message.model_dump(mode="json")
    return json.dumps(fields, ensure_ascii=False, indent=1) + "\n"


def read_signed(path: Path) -> Signed:
    """A signed document.

    Raises:
        InputError: The file cannot be read (`market.file`).
        InvalidMessageError: It has another shape.
    """
    return Signed.parse(_text(path))


def check_draft(agreement: Agreement, documents: Mapping[str, Mapping[str, Any]]) -> None:
    """Hold a draft to what it is of: the market draws it up, and the two sides sign it.

    Args:
        documents: What the market answers for offer, request and design, by their digests.

    Raises:
        InputError: The market has another text under a digest, or the draft is of other documents
            (`market.proof`).
        GridSecureError: As `make_agreement` and `check_agreement`.
    """
    found = {}
    for digest, told in documents.items():
        found[digest] = Signed.parse(json.dumps(told["signed"][0]))
        if found[digest].digest != digest:
            raise _other_document()
    if {agreement.offer, agreement.request, agreement.design} != found.keys():
        raise _other_document()
    made = make_agreement(
        found[agreement.offer],
        found[agreement.request],
        design=ProductDesign.parse(found[agreement.design].body),
        policy=parse_policy(agreement.policy_text),
    )
    check_agreement(agreement, made)


def _other_document() -> InputError:
    return InputError(
        "The market answers with another document than was asked for.",
        reason="market.proof",
        remedy="Sign nothing, and ask the other side for the document itself.",
    )


def name_release(
    call: Call, agreement: Digest, *, release: str, key: Sm2PrivateKey, now: datetime
) -> dict[str, Any]:
    """Name an agreement for a release: what the market has of it is shown to the key authority.

    Args:
        call: Calls market and key authority as one of the consumer's people.
        key: That person's.

    Raises:
        GridSecureError: As `make_proof`, or a service refused.
    """
    told = call("market", "GET", f"/documents/{agreement}")
    params = {"kind": "organisation", "side": "everybody"}
    records = call("market", "GET", "/documents", params=params)
    proof = make_proof(
        told["signed"],
        [one["signed"][0] for one in records],
        call("market", "GET", f"/agreements/{agreement}/standing"),
        release=release,
        key=key,
        signed_at=now.isoformat(),
    )
    named: dict[str, Any] = call(
        "authority", "POST", "/release-agreements", json=proof.model_dump()
    )
    return named


def make_proof(
    signatures: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
    standing: Mapping[str, Any],
    *,
    release: str,
    key: Sm2PrivateKey,
    signed_at: str,
) -> AgreementProof:
    """What shows the key authority an agreement, for one release.

    Args:
        signatures: The agreement as both sides signed it.
        records: Of all organisations, among them both sides'.
        standing: The market's word that it stands.
        key: Of somebody of the consumer's.

    Raises:
        InputError: Another than the consumer's people would name it, or a side has not signed
            (`market.proof`).
    """
    signed = [Signed.parse(json.dumps(one)) for one in signatures]
    agreed = Agreement.parse(signed[0].body)
    known = {
        OrganisationRecord.parse(one["body"]).name: Signed.parse(json.dumps(one)) for one in records
    }
    sides = [known[side] for side in (agreed.provider, agreed.consumer) if side in known]
    people = OrganisationRecord.parse(known[agreed.consumer].body).people if sides[1:] else []
    mine = [one.person for one in people if one.public_key == key.public_key.point.hex()]
    if len(signed) != len(sides) or not mine:
        raise InputError(
            "The agreement is not signed by both sides, or not yours to name.",
            reason="market.proof",
            remedy="Have both sides sign it, and name the release as one of the consumer's people.",
        )
    named = AgreedRelease(
        organisation=agreed.consumer,
        person=mine[0],
        signed_at=signed_at,
        agreement=signed[0].digest,
        release=release,
    )
    return AgreementProof(
        standing=Signed.parse(json.dumps(standing)),
        named=sign_message(named, key=key),
        signatures=signed,
        organisations=sides,
    )


def form_text(kind: str) -> str:
    """What a document of a kind consists of, as a JSON schema.

    Raises:
        InputError: There is no such kind (`market.kind`).
    """
    return json.dumps(kind_named(kind).model_json_schema(), ensure_ascii=False, indent=1)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> InputError:
    return InputError(
        f"{path.name} cannot be read as a document of the market.",
        reason="market.file",
        remedy="Give a JSON file with its kind; gridsecure market form KIND says what is in one.",
    )
