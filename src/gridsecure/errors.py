"""Every error GridSecure raises on purpose, in one tree.

GridSecureError
  InputError                  the sender's fault
    InvalidReadingsError      carries the list of ReadingProblem values
    InvalidTariffError        InvalidMessageError (shape, version)
  AuthenticityError           cannot trust it; callers see one public message for all
    SignatureError  EnvelopeError  StaleMessageError  UnknownMeterError  AccessDeniedError
      RoleError               who asks is known, and only others may; says so outside
  CiphertextError             the cryptography cannot go on
    MalformedCiphertextError  KeyMismatchError  DepthExceededError  OutOfRangeError
  ReleaseRefusedError         policy said no
  NotFoundError               nothing under that name
  ConflictError               the name is taken by different content
  StorageError                disk or database could not take it
  AuditBrokenError            the evidence log does not hold

Each error carries a stable dotted `reason`, a sentence for people, and `remedy`, what to do next.
No message ever holds a reading, a plaintext, key bytes or a token. Library exceptions are
translated where the library is called (`raise … from`); programming mistakes stay ValueError.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RowFault:
    """One kind of fault of a file or a batch, and every row that has it; never a value of one.

    Args:
        reason: Reason code of a refusal for these rows alone.
        rule: Stable name of the kind, such as `kwh-decimals`.
        place: What rows are counted as: lines of a text, or readings of a body without lines.
        count: How many rows have it.
        firsts: Number of the first row of each run of such rows, from 1, in their order.
        lasts: Number of the last row of each.
    """

    reason: str
    rule: str
    detail: str
    remedy: str
    count: int
    firsts: array[int]
    lasts: array[int]
    place: Literal["line", "reading"] = "line"


class GridSecureError(Exception):
    """Base of every deliberate error.

    Args:
        message: What happened, in a sentence without secrets.
        reason: A stable dotted code; defaults to the class's own.
    """

    default_reason = "error"

    def __init__(self, message: str, *, reason: str | None = None, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.remedy = remedy

    def __str__(self) -> str:
        tail = f" {self.remedy}" if self.remedy else ""
        return f"[{self.reason}] {self.message}{tail}"


class InputError(GridSecureError):
    """The sender's data is wrong."""

    default_reason = "input.invalid"


class InvalidReadingsError(InputError):
    """Readings that cannot be used; `problems` says which and why.

    Args:
        problems: Some places where they are wrong.
        faults: Every row that is wrong, by kind, where rows can be told.
    """

    default_reason = "readings.invalid"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        remedy: str = "",
        problems: Sequence[object] = (),
        faults: Sequence[RowFault] = (),
    ) -> None:
        super().__init__(message, reason=reason, remedy=remedy)
        self.problems = tuple(problems)
        self.faults = tuple(faults)


class InvalidTariffError(InputError):
    """A tariff that does not say exactly one price for every kWh."""

    default_reason = "tariff.invalid"


class InvalidMessageError(InputError):
    """A message with the wrong shape or version."""

    default_reason = "message.invalid"


class AuthenticityError(GridSecureError):
    """It cannot be trusted. Outside, all but `RoleError` read alike; the log keeps the class."""

    default_reason = "authenticity.refused"


class SignatureError(AuthenticityError):
    """A signature that does not verify."""

    default_reason = "authenticity.signature"


class EnvelopeError(AuthenticityError):
    """A sealed envelope that does not open, whatever the check that failed."""

    default_reason = "authenticity.envelope"


class StaleMessageError(AuthenticityError):
    """A replayed or expired message."""

    default_reason = "authenticity.stale"


class UnknownMeterError(AuthenticityError):
    """A meter point or sender that was never enrolled."""

    default_reason = "authenticity.unknown"


class AccessDeniedError(AuthenticityError):
    """This role may not do this."""

    default_reason = "authenticity.role"


class RoleError(AccessDeniedError):
    """Who asks is known and lacks the role; which ones may is said outside: it is no secret."""


class CiphertextError(GridSecureError):
    """The homomorphic computation cannot go on."""

    default_reason = "ciphertext.invalid"


class MalformedCiphertextError(CiphertextError):
    """Bytes that are not exactly one well-formed ciphertext of the declared shape."""

    default_reason = "ciphertext.malformed"


class KeyMismatchError(CiphertextError):
    """Another key, parameter set or roster than the one declared."""

    default_reason = "ciphertext.key-mismatch"


class DepthExceededError(CiphertextError):
    """A plan whose proven noise bound does not fit the parameter set; refused before it runs."""

    default_reason = "plan.noise"


class OutOfRangeError(CiphertextError):
    """A value or bound that would wrap round the plain modulus; refused before it runs."""

    default_reason = "plan.range"


class ReleaseRefusedError(GridSecureError):
    """The release policy does not allow it."""

    default_reason = "release.refused"


class NotFoundError(GridSecureError):
    """Nothing is stored under that name."""

    default_reason = "not-found"


class ConflictError(GridSecureError):
    """The same name was used before for different content."""

    default_reason = "conflict"


class StorageError(GridSecureError):
    """The disk or database could not take it; nothing was half-written."""

    default_reason = "storage.failed"


class AuditBrokenError(GridSecureError):
    """The evidence log was altered: its tree does not hold."""

    default_reason = "audit.broken"
