"""The billing office's shadow runs: what a tariff, or corrections that wait, would change."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from gridsecure import frames
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError, InputError, SignatureError
from gridsecure.messages import (
    ClosingList,
    ShadowOrder,
    ShadowPreview,
    Signed,
    open_message,
    sign_message,
)
from gridsecure.offices.closing_lists import PATH
from gridsecure.offices.officers import Call

PREVIEWS: Final = "/shadow-previews"


def order_shadow_run(  # noqa: PLR0913 - an order has that many parts
    call: Call,
    *,
    key: Sm2PrivateKey,
    start: str,
    end: str,
    now: datetime,
    tariff: str = "",
    instead_of: str = "",
    uploads: Collection[str] = (),
    number: int | None = None,
) -> str:
    """Sign and hand in the order of a shadow run; the run's id.

    Args:
        call: Calls the services as a member of the billing staff.
        key: The billing office's.
        start: Start of the month, ISO 8601.
        tariff: Text of the tariff to try; empty to try the corrections that wait.
        instead_of: Text of the tariff in whose place it is tried; empty for whatever there is.
        uploads: The uploads to bill by it; those of one closing list by default.
        number: That list's number; the only one in force by default.

    Raises:
        InputError: Several lists are in force, or none (`shadow.list`); nothing of the list is
            billed by the tariff to replace (`shadow.instead-of`).
        GridSecureError: The platform refused.
    """
    chosen = list(uploads)
    if tariff and not chosen:
        answer = call("platform", "GET", PATH, params={"start": start, "end": end})
        chosen = _closed_together(answer, number)
        if instead_of:
            chosen = _billed_by(answer, sm3_hex(instead_of.encode()), chosen)
    order = ShadowOrder(
        start=start,
        end=end,
        ordered_at=now.isoformat(),
        tariff=sm3_hex(tariff.encode()) if tariff else "",
        uploads=sorted(set(chosen)),
    )
    parts = [sign_message(order, key=key).model_dump_json().encode()]
    body = frames.join_frames([*parts, *([tariff.encode()] if tariff else [])])
    headers = {"Content-Type": frames.CONTENT_TYPE}
    run: str = call("platform", "POST", "/shadow-runs", content=body, headers=headers)["run_id"]
    return run


def list_shadow_previews(call: Call, *, authority: Sm2PublicKey) -> list[ShadowPreview]:
    """What shadow runs would change, each verified under the key authority's key.

    Args:
        call: Calls the services as a member of the billing staff.

    Raises:
        SignatureError: One is not signed by it (`shadow.signature`).
        GridSecureError: The key authority refused.
    """
    trusted = {authority.thumbprint: authority}
    envelopes = [Signed.model_validate(item) for item in call("authority", "GET", PREVIEWS)]
    try:
        return [open_message(one, expect=ShadowPreview, trusted=trusted) for one in envelopes]
    except AuthenticityError as refused:
        raise SignatureError(
            "A preview is not signed by this key of the key authority.",
            reason="shadow.signature",
            remedy="Nothing of it is shown. Compare the key given with the authority's; if they "
            "agree, tell the security officer.",
        ) from refused


def _billed_by(answer: dict[str, Any], tariff: str, uploads: Collection[str]) -> list[str]:
    billed = {item["upload"] for item in answer["uploads"] if item["tariff"] == tariff}
    if billed.isdisjoint(uploads):
        raise InputError(
            "Nothing of the closing list is billed by the tariff to replace.",
            reason="shadow.instead-of",
            remedy="Give the very file that the month is billed by.",
        )
    return sorted(billed & set(uploads))


def _closed_together(answer: dict[str, Any], number: int | None) -> list[str]:
    lists = [Signed.model_validate(item) for item in answer["closed"]]
    in_force = [ClosingList.parse(item.body) for item in lists if item.digest in answer["in_force"]]
    found = [item for item in in_force if number in (None, item.number)]
    if len(found) != 1:
        raise InputError(
            f"{len(found)} closing lists of this month are in force that could be meant.",
            reason="shadow.list",
            remedy="Give the number of one with --list (gridsecure period show), or close the "
            "month first (gridsecure period close).",
        )
    return found[0].uploads
