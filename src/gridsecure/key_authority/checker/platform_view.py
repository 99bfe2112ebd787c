"""What the authority reads of the platform: by digest, checked as it comes, and nothing more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import EnvelopeError, InvalidMessageError
from gridsecure.messages import Signed


class PlatformView(Protocol):
    """Read access to the platform's signed messages and objects, by digest."""

    def message(self, kind: str, digest: str) -> Signed:
        """A roster's or upload's signed message."""
        ...

    def objects(self, digests: Sequence[str]) -> Iterable[bytes]:
        """Objects in their order, as the platform says; checked against the digests here."""
        ...


def fetch_object(view: PlatformView, digest: str) -> bytes:
    """An object of the platform whose digest is right.

    Raises:
        EnvelopeError: The platform sent other bytes.
    """
    (data,) = view.objects([digest])
    if sm3_hex(data) != digest:
        raise EnvelopeError("The platform sent the wrong object.")
    return data


def fetch_tariff(view: PlatformView, digest: str) -> str:
    """A tariff of the platform whose digest is right.

    Raises:
        EnvelopeError: The platform sent other bytes.
        InvalidMessageError: The object is no text, whatever a roster says.
    """
    try:
        return fetch_object(view, digest).decode()
    except UnicodeDecodeError as error:
        raise InvalidMessageError(
            "A roster names an object that is not a tariff.", reason="release.tariff"
        ) from error


def fetch_message(view: PlatformView, kind: str, digest: str) -> Signed:
    """A signed message of the platform whose digest is right.

    Raises:
        EnvelopeError: The platform sent another message.
    """
    envelope = view.message(kind, digest)
    if envelope.digest != digest:
        raise EnvelopeError("The platform sent the wrong message.")
    return envelope
