"""What an office asks of the identity service: openings, revocations, searches by person.

The custodian acts for the utility and the regulator for itself; whoever has
another role besides acts for nobody.

Invariants:
- No key is here: a share is computed on the office's own machine and only handed on.
- Who a pseudonym is is kept nowhere here.
- What ends up in a path is a digest and nothing else.

Not here: checking log and warrant, which the office's own machine does before it makes a share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import urlencode

import httpx

from gridsecure.credentials.opening import OFFICE_OF
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    GridSecureError,
    InputError,
    NotFoundError,
    SignatureError,
)
from gridsecure.identity_messages import LogEntry
from gridsecure.offices.warrant_states import Opening, PersonSearch, WarrantState
from gridsecure.wire.answers import fetch_body, read_object, read_objects
from gridsecure.wire.client import parse_answer
from gridsecure.wire.identity import EvidenceShown
from gridsecure.wire.sessions import IDENTITY, Session
from gridsecure.wire.words import PeopleWords

LoggedEntry: TypeAlias = LogEntry
"""An entry of the log as it came."""

_LONGEST_REFERENCE: Final = 256
_NO_SUCH_METHOD: Final = "http.405"  # a service that only takes orders to search


def office_of(session: Session) -> str:
    """Whose office a session acts for.

    Raises:
        AccessDeniedError: For none, or it has another role besides (`session.offices`).
    """
    offices = [OFFICE_OF[role] for role in session.roles if role in OFFICE_OF]
    if not offices or len(session.roles) != 1:
        raise AccessDeniedError(
            "A person who acts for an office may have no other role.",
            reason="session.offices",
            remedy="Sign in as a custodian or as the regulator, with no second role.",
        )
    return offices[0]


class OfficeClient:
    """What an office asks of the identity service.

    Every method raises a GridSecureError with a reason and a remedy when the service refuses,
    cannot be reached or answers in another shape.

    Args:
        http: The connection; closing it is up to its owner.
        identity_url: Base address of the identity service.
    """

    def __init__(self, http: httpx.Client, *, identity_url: str) -> None:
        self._http = http
        self._url = identity_url.rstrip("/")

    def order_opening(self, session: Session, *, subject: str, reference: str) -> WarrantState:
        """Order to open a pseudonym; the order is in the evidence log from now on.

        Raises:
            InputError: No pseudonym (`warrant.subject`) or no reference (`warrant.reference`).
            NotFoundError: Nobody is registered under it.
        """
        body = check_order(subject=subject, reference=reference)
        content = self._ask(session, "POST", "/warrants", body=body)
        return WarrantState.of(read_object(content, service=IDENTITY))

    def warrants(self, session: Session) -> tuple[WarrantState, ...]:
        """Every order to open, newest first."""
        content = self._ask(session, "GET", "/warrants")
        listed = [WarrantState.of(answer) for answer in read_objects(content, service=IDENTITY)]
        return tuple(sorted(listed, key=lambda warrant: warrant.index, reverse=True))

    def warrant(self, session: Session, *, name: str) -> WarrantState:
        """One order.

        Raises:
            InputError: The name is no hash (`warrant.hash`).
        """
        content = self._ask(session, "GET", f"/warrants/{_checked_name(name)}")
        return WarrantState.of(read_object(content, service=IDENTITY))

    def give_share(self, session: Session, *, name: str, share: str) -> WarrantState:
        """Hand on this office's share; the second one opens the pseudonym.

        The service answers a wrong share as it answers a token that ended, so that a stranger
        learns nothing. If it still shows this session the order, it was the share.

        Args:
            name: Hash of the order.
            share: In hexadecimal, as the command printed it.

        Raises:
            InputError: This is no share (`share.shape`).
            SignatureError: Of another order, escrow or key (`share.refused`).
        """
        body = {"opener": office_of(session), "share": _checked_share(share)}
        try:
            content = self._ask(session, "POST", f"/warrants/{_checked_name(name)}/shares", body)
        except AuthenticityError as refused:
            self.warrant(session, name=name)
            raise SignatureError(
                "This share does not fit the warrant.",
                reason="share.refused",
                remedy="Compute it for this warrant, with your own office's half of the opening "
                "key, and paste it again.",
            ) from refused
        return WarrantState.of(read_object(content, service=IDENTITY))

    def result(self, session: Session, *, name: str) -> Opening | None:
        """Who the pseudonym of an order is; None if the service does not know it any more.

        Raises:
            InputError: The name is no hash (`warrant.hash`).
        """
        try:
            content = self._ask(session, "GET", f"/warrants/{_checked_name(name)}/result")
        except NotFoundError:
            return None
        return Opening.of(read_object(content, service=IDENTITY))

    def revoke(self, session: Session, *, subject: str, reference: str) -> int:
        """Revoke a pseudonym and its partner of the same presentation; how many were active.

        Raises:
            InputError: No pseudonym (`warrant.subject`) or no reference (`warrant.reference`).
            NotFoundError: Nobody is registered under it.
        """
        body = check_order(subject=subject, reference=reference)
        content = self._ask(session, "POST", "/revocations", body=body)
        return read_object(content, service=IDENTITY).number("revoked")

    def searches(self, session: Session) -> tuple[PersonSearch, ...] | None:
        """Searches by person; None if this service does not list them."""
        try:
            content = self._ask(session, "GET", "/person-searches")
        except NotFoundError:
            return None
        except GridSecureError as failed:
            if failed.reason != _NO_SUCH_METHOD:
                raise
            return None
        return tuple(PersonSearch.of_answer(a) for a in read_objects(content, service=IDENTITY))

    def logged(
        self, session: Session, *, actions: Sequence[str], most: int
    ) -> tuple[LoggedEntry, ...]:
        """What was done to pseudonyms and orders, as the log of registrations has it, in order.

        Nothing is verified here: an office's command compares the log with what it has seen.

        Args:
            actions: What is asked for, as `identity.opened`.
            most: How many entries are asked for, from the first one.
        """
        found: list[LoggedEntry] = []
        of_actions = urlencode([("action", one) for one in actions])
        while len(found) < most:
            after = found[-1].index if found else -1
            path = f"/evidence?log=registrations&after={after}&{of_actions}"
            content = self._ask(session, "GET", path)
            shown = parse_answer(content, EvidenceShown, words=PeopleWords(IDENTITY)).entries
            if not shown:
                break
            found += shown
        return tuple(found)

    def _ask(self, session: Session, method: str, path: str, body: object = None) -> bytes:
        office_of(session)
        return fetch_body(
            self._http,
            method,
            f"{self._url}{path}",
            service=IDENTITY,
            token=session.token_for(IDENTITY),
            body=body,
        )


def check_order(*, subject: str, reference: str) -> dict[str, str]:
    """An order about a pseudonym, as it is sent.

    Args:
        subject: The pseudonym; spaces around it do no harm.
        reference: The order's number in both offices' files.

    Raises:
        InputError: No pseudonym (`warrant.subject`) or no reference (`warrant.reference`).
    """
    subject, reference = subject.strip().lower(), reference.strip()
    if not re.fullmatch(r"[0-9a-f]{64}", subject):
        raise InputError(
            "This is not a pseudonym.",
            reason="warrant.subject",
            remedy="A pseudonym has 64 hexadecimal digits; copy it whole.",
        )
    if not 0 < len(reference) <= _LONGEST_REFERENCE:
        raise InputError(
            "An order needs a reference.",
            reason="warrant.reference",
            remedy=f"Enter its number in your office's files, {_LONGEST_REFERENCE} characters at "
            "most.",
        )
    return {"subject": subject, "reference": reference}


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", name):
        raise InputError(
            "This is not the hash of a warrant.",
            reason="warrant.hash",
            remedy="Choose a warrant from the list.",
        )
    return name


def _checked_share(share: str) -> str:
    """A share as it is sent; line breaks of a terminal do no harm."""
    text = "".join(share.split()).lower()
    if not re.fullmatch(r"[0-9a-f]{194}", text):
        raise InputError(
            "This is not a share.",
            reason="share.shape",
            remedy="Paste everything that the command printed: 194 hexadecimal digits.",
        )
    return text
