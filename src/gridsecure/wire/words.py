"""What a client says of failures: those between it and a service, and the service's refusals.

Services tell an operator which service it was; people are told in the service's own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gridsecure.errors import (
    AuthenticityError,
    GridSecureError,
    InvalidMessageError,
    InvalidReadingsError,
)
from gridsecure.wire.problems import class_of, error_of

_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True)
class ServiceWords:
    """Of a service that asks another one; reason codes begin with the other's name.

    Args:
        name: What the other is called, as in "platform".
    """

    name: str

    def unreachable(self) -> GridSecureError:
        """No connection, or a lost one."""
        return GridSecureError(
            f"The {self.name} cannot be reached.",
            reason=f"{self.name}.unreachable",
            remedy="Check that it runs and its address, then start again; nothing is lost.",
        )

    def redirected(self) -> GridSecureError:
        """An answer that names another address."""
        return GridSecureError(
            f"The {self.name} sent a redirect, which is refused.",
            reason=f"{self.name}.redirect",
            remedy="Configure its own address.",
        )

    def too_large(self) -> GridSecureError:
        """An answer longer than any is."""
        return GridSecureError(
            f"The {self.name} sent a longer answer than any should be.",
            reason=f"{self.name}.too-large",
            remedy="Check the address; nothing of the answer was used.",
        )

    def malformed(self, _where: str = "") -> InvalidMessageError:
        """An answer of another shape than documented."""
        return InvalidMessageError(
            f"The {self.name} answered in a form this release does not know.",
            reason=f"{self.name}.answer",
            remedy="Check the address, and run the same release on both sides.",
        )

    def refused(self, status: int, content: bytes) -> GridSecureError:
        """The other's error, with its reason where it gives a well-formed one."""
        said = error_of(status, content)
        plain = f"The {self.name} refused."
        if said is None:
            return class_of(status)(
                plain,
                reason=f"{self.name}.failed",
                remedy=f"Check the address and the log of the {self.name}, then start again.",
            )
        message = f"The {self.name} refused: {said.message}" if said.message else plain
        return type(said)(message, reason=said.reason, remedy=said.remedy)


@dataclass(frozen=True, slots=True)
class PeopleWords:
    """Of a program that somebody sits at.

    Args:
        service: What the service is called, as in "identity".
    """

    service: str

    def unreachable(self) -> GridSecureError:
        """No connection, or a lost one."""
        return GridSecureError(
            f"The {self.service} service cannot be reached.",
            reason="service.unreachable",
            remedy="Check that it is running and that its address is set correctly.",
        )

    def redirected(self) -> GridSecureError:
        """An answer that names another address."""
        return GridSecureError(
            f"The {self.service} service sent a redirect, which is refused.",
            reason="service.redirect",
            remedy="Give its own address.",
        )

    def too_large(self) -> GridSecureError:
        """An answer longer than any is."""
        return GridSecureError(
            f"The {self.service} service sent a longer answer than any should be.",
            reason="service.too-large",
            remedy="Check the address; nothing of the answer was used.",
        )

    def malformed(self, where: str = "JSON") -> InvalidMessageError:
        """An answer of another shape than documented."""
        return InvalidMessageError(
            f"The {self.service} service answered in another shape: {where}.",
            reason="message.answer",
            remedy="Run the same release of every service.",
        )

    def refused(self, status: int, content: bytes) -> GridSecureError:
        """The service's error; where it gives no reason or remedy, what usually helps."""
        said = error_of(status, content)
        kind = class_of(status) if said is None else type(said)
        reason = None if said is None else said.reason
        remedy = "" if said is None else said.remedy
        if status == _TOO_MANY:
            reason = reason or "service.too-many"
            remedy = remedy or "Wait a minute, then try once more."
        elif issubclass(kind, AuthenticityError):
            remedy = remedy or "Sign in again; if that does not help, your role may not do this."
        elif kind is GridSecureError and reason is None:
            reason = "service.failed"
            remedy = f"Look into the log of the {self.service} service."
        message = "" if said is None else said.message
        told = kind(
            message or f"The {self.service} service refused the request.",
            reason=reason,
            remedy=remedy,
        )
        if isinstance(told, InvalidReadingsError) and isinstance(said, InvalidReadingsError):
            told.problems, told.faults = said.problems, said.faults
        return told


Words = ServiceWords | PeopleWords
