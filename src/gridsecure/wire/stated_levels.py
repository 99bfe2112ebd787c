"""A security level as services tell each other of it: by name and digest.

Apart from what a level says, which most services never read: that loads policies and plans.
"""

from __future__ import annotations

from typing import Protocol

from gridsecure.errors import AuthenticityError


class Stated(Protocol):
    """What is known of a level without reading it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def digest(self) -> str:
        """The digest of its text."""


def check_level(stated: str, *, own: Stated | None, whose: str) -> None:
    """Refuse a service that has another security level than one's own.

    Args:
        stated: The digest of its level; empty where it has none.
        own: None where any will do.
        whose: A name for the message, as "the platform".

    Raises:
        AuthenticityError: It has (`level.differs`).
    """
    if own is not None and stated != own.digest:
        raise AuthenticityError(
            f"The security level of {whose} is not {own.name}.",
            reason="level.differs",
            remedy="Give every service of the deployment the same setting LEVEL, and start them "
            "anew (docs/levels.md).",
        )
