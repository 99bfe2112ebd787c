"""What a service tells a receiver: read in one line, once it is sure who signed it, and to whom.

recent = datetime.now(UTC) - timedelta(hours=1)
event = read_event(body, receiver="settlement-desk", service_key="04…", not_before=recent)
event.event, event.subject          # "release.done", the release's id
"""

from __future__ import annotations

from datetime import datetime

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import AuthenticityError, InputError, InvalidMessageError
from gridsecure.messages import EventNotice, Signed, open_message
from gridsecure.month_texts import read_moment


def read_event(
    body: bytes, *, receiver: str, service_key: str, not_before: datetime
) -> EventNotice:
    """A notice of an event as it came, refused unless the service signed it for this receiver.

    A notice whose answer was lost comes again: `zone` and `entry` together name what happened.
    Headers are not signed.

    Args:
        body: Of the request, as it came.
        receiver: The name that was registered at the service.
        service_key: The service's key, as registering printed it (130 digits).
        not_before: Refuse what was sent earlier, aware: whoever read a notice on its way may
            send it again, in a year too. An hour ago serves.

    Raises:
        InputError: `service_key` is no public key (`receiver.key`).
        InvalidMessageError: It is no such notice, or its time is none.
        AuthenticityError: The service did not sign it, or signed it for another receiver
            (`receiver.other`), or sent it earlier (`receiver.old`).
    """
    try:
        key = Sm2PublicKey(bytes.fromhex(service_key))
    except (ValueError, InvalidMessageError) as error:
        raise InputError(
            "The service's key is not a public key.",
            reason="receiver.key",
            remedy="Give the 130 digits that registering the receiver printed.",
        ) from error
    notice = open_message(Signed.parse(body), expect=EventNotice, trusted={key.thumbprint: key})
    if notice.receiver != receiver:
        raise AuthenticityError("The notice is for another receiver.", reason="receiver.other")
    sent = read_moment(notice.at)
    if sent is None:
        raise InvalidMessageError(
            "The notice does not say when it was sent.",
            remedy="Ask the service what happened.",
        )
    if sent < not_before:
        raise AuthenticityError(
            "The notice was sent too long ago.",
            reason="receiver.old",
            remedy="Do nothing for it, and ask the service what happened.",
        )
    return notice
