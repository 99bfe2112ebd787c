"""Orders to give an identity a new key: both offices sign the same one."""

from __future__ import annotations

from datetime import datetime

from gridsecure.errors import InvalidMessageError
from gridsecure.identity_messages import RekeyOrder


def make_rekey_order(
    identity: str, *, old: str, new: str, reference: str, now: datetime
) -> RekeyOrder:
    """Make a new order.

    Args:
        identity: Whose key, as in the books.
        old: Its key now, 66 hexadecimal digits.
        reference: The order's number in both offices' files.
        now: The present, aware.

    Raises:
        InvalidMessageError: The order is malformed.
    """
    try:
        return RekeyOrder(
            identity=identity, old=old, new=new, reference=reference, issued_at=now.isoformat()
        )
    except ValueError as error:
        raise InvalidMessageError(
            "The order is malformed.", remedy="A key has 66 hexadecimal digits."
        ) from error
