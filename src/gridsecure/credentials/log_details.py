"""What the identity authority's log says of registrations, orders and searches.

The authority writes these details, and the offices check them, each for itself:

    leaf          SM3(SM3(subject), escrow): one registration
    commitment    SM3 of all leaves of a batch, sorted; in the log entry of the batch
    warrant       which escrow of which pseudonym is to be opened, by which order
    search        which keys are searched for, in which batches of escrows

Nothing but digests and references: the log shows nobody who is who.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from gridsecure.credentials.opening import Opener
from gridsecure.credentials.presentations import Escrow
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AccessDeniedError
from gridsecure.identity_messages import SearchStep

ACTOR: Final = "identity"
"""Who acts where the authority acts by itself."""

REGISTERED: Final = "identity.registered"
WARRANT: Final = "identity.warrant"
SEARCH: Final = "identity.search"

STEP_OF: Final[dict[SearchStep, Opener]] = {
    "blind": "utility",
    "blind-and-share": "regulator",
    "share": "utility",
}
"""Whose turn each step of a search is."""


def name_digest(subject: str) -> str:
    """What stands for a pseudonym in its leaf."""
    return sm3_hex(frame_parts(subject))


def leaf(name: str, escrow: bytes) -> str:
    """The commitment to one registration.

    Args:
        name: From `name_digest`.
    """
    return sm3_hex(frame_parts(name, escrow))


def commitment(leaves: Iterable[str]) -> str:
    """What the log says of a batch.

    Args:
        leaves: Of its registrations, in any order.
    """
    return sm3_hex(frame_parts(*sorted(leaves)))


def warrant_detail(subject: str, *, escrow: Escrow, reference: str, suite: Suite) -> dict[str, str]:
    """What the log says of an order to open.

    Args:
        subject: The pseudonym.
        reference: The order's number in the utility's and regulator's files.
    """
    digest = sm3_hex(escrow.to_bytes(suite))
    return {"subject": subject, "escrow": digest, "reference": reference}


def check_warrant(action: str, detail: str, *, ordered: dict[str, str]) -> None:
    """Refuse a log entry that does not order exactly one opening.

    Args:
        detail: The entry's, as it was hashed.
        ordered: From `warrant_detail`, of what is to be opened.

    Raises:
        AccessDeniedError: It orders something else (`authenticity.warrant`).
    """
    if action != WARRANT or json.loads(detail) != ordered:
        raise AccessDeniedError(
            "The log entry does not order this opening.",
            reason="authenticity.warrant",
            remedy="Append the warrant to the evidence log first.",
        )


def batch_digest(key: str, escrows: Sequence[str]) -> str:
    """What a search's order says of one batch: which key is searched for, in which escrows."""
    return sm3_hex(frame_parts(bytes.fromhex(key), *map(bytes.fromhex, escrows)))


def search_detail(
    keys: Sequence[str], *, batches: Sequence[str], reference: str
) -> dict[str, str | int]:
    """What the log says of a search.

    Args:
        batches: Digests of the batches.
        reference: The order's number.
    """
    return {
        "keys": sm3_hex(frame_parts(*map(bytes.fromhex, keys))),
        "escrows": sm3_hex(frame_parts(*map(bytes.fromhex, batches))),
        "batches": len(batches),
        "reference": reference,
    }
