"""The reader's client: sign in, read verified releases, start runs and release rounds.

It talks over an `httpx.Client` given from outside, which carries the timeouts; it keeps no token.
Every release it returns was verified under the pinned key of the authority.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote

import httpx

from gridsecure.analyst.certificates import VerifiedCertificate, verify_certificate
from gridsecure.analyst.closings import MonthClosing
from gridsecure.analyst.key_sets import KeySetShown, read_key_set
from gridsecure.analyst.policies import StandingPolicies, read_policies
from gridsecure.analyst.releases import PinnedAuthority, Release, verify_release
from gridsecure.analyst.runs import RunOrder, check_month
from gridsecure.wire import sessions
from gridsecure.wire.answers import fetch_body, fetch_list, read_object
from gridsecure.wire.asked_releases import AskedRelease, read_listed
from gridsecure.wire.authority import ApprovalListed, KeySetListed, ReleaseSummary, RoundOutcome
from gridsecure.wire.client import parse_answer
from gridsecure.wire.gateway import (
    CorrectionOrder,
    CorrectionStatus,
    ExceptionStatus,
    MonthOnBoard,
    MonthStatus,
    ReadingEdit,
    ReadingException,
)
from gridsecure.wire.identity import Terms
from gridsecure.wire.platform import RunStarted, RunStatus
from gridsecure.wire.policies import PoliciesTold
from gridsecure.wire.services import MonthUsage
from gridsecure.wire.sessions import AUTHORITY, GATEWAY, IDENTITY, PLATFORM, Session
from gridsecure.wire.words import PeopleWords

AnswerT = TypeVar("AnswerT")

READERS_OF_VALUES: Final = frozenset({"billing", "analyst"})
"""Roles that see the values of a release; all others see its evidence only."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Base address of each service."""

    identity: str
    authority: str
    platform: str
    gateway: str

    def of(self, service: str) -> str:
        """Base address of one service, without a closing slash."""
        by_name = {
            IDENTITY: self.identity,
            AUTHORITY: self.authority,
            PLATFORM: self.platform,
            GATEWAY: self.gateway,
        }
        return by_name[service].rstrip("/")


class ReleaseClient:
    """What a dashboard or an analyst asks of the services.

    Every method raises a GridSecureError with a reason and a remedy when a service refuses,
    cannot be reached or answers in another shape.

    Args:
        http: The connection; closing it is up to its owner.
        addresses: Where the services are.
        authority: The only key whose releases are believed.
    """

    def __init__(
        self, http: httpx.Client, *, addresses: Addresses, authority: PinnedAuthority
    ) -> None:
        self._http = http
        self._addresses = addresses
        self._authority = authority

    def offers_passwords(self) -> bool:
        """Whether people may sign in with a password: in the local demonstration only."""
        return sessions.offers_passwords(self._http, identity_url=self._addresses.identity)

    def sign_in_by_code(self, code: str) -> Session:
        """Exchange a sign-in code for the tokens of a session.

        Raises:
            InputError: This is no sign-in code (`session.code-shape`).
            AuthenticityError: Too old, used before, or of nobody known (`session.code`).
        """
        return sessions.sign_in_by_code(
            self._http, identity_url=self._addresses.identity, code=code
        )

    def sign_in(self, user: str, *, password: str, asked_by: str = "") -> Session:
        """Exchange a password for the tokens of a session.

        Args:
            asked_by: The person's address, where that is another machine.

        Raises:
            AuthenticityError: Wrong name or password (`session.sign-in`).
        """
        return sessions.sign_in(
            self._http,
            identity_url=self._addresses.identity,
            user=user,
            password=password,
            asked_by=asked_by,
        )

    def releases(self, session: Session) -> tuple[ReleaseSummary, ...]:
        """What was released, newest first.

        The list is not signed: it names what may be fetched, and no page shows a figure from it.
        """
        listed = self._list(session, AUTHORITY, "/releases", ReleaseSummary)
        return tuple(sorted(listed, key=lambda item: item.released_at, reverse=True))

    def release(self, session: Session, *, release_id: str) -> Release:
        """Fetch one release and verify it; values only for roles that may see them.

        Raises:
            SignatureError: Not signed by the pinned authority, or another release.
            ReleaseRefusedError: It breaks its own minimum.
        """
        content = self._ask(session, AUTHORITY, "GET", f"/releases/{quote(release_id, safe='')}")
        release = verify_release(content, release_id=release_id, authority=self._authority)
        return release if session.roles & READERS_OF_VALUES else release.hide_values()

    def verify_offline(self, signed_text: str) -> VerifiedCertificate:
        """Verify a signed certificate and its log proof with the pinned key; asks no service.

        Raises:
            SignatureError, AuditBrokenError, ReleaseRefusedError: As `verify_certificate`.
        """
        return verify_certificate(signed_text.encode(), authority=self._authority)

    def approvals(self, session: Session, *, state: str) -> tuple[AskedRelease, ...]:
        """What was asked to be released, oldest first.

        Args:
            state: `waiting`, `rejected`, `refused` or `released`.

        Raises:
            SignatureError: A text is not what its digest says (`approval.text`).
        """
        path = f"/approvals?only={quote(state, safe='')}"
        return tuple(map(read_listed, self._list(session, AUTHORITY, path, ApprovalListed)))

    def key_sets(self, session: Session) -> tuple[KeySetShown, ...]:
        """Gateways' key sets, oldest first, each as its signed notice says.

        Raises:
            SignatureError: A notice is not signed by the pinned authority (`keys.notice`).
        """
        listed = self._list(session, AUTHORITY, "/gateway-key-sets", KeySetListed)
        return tuple(read_key_set(one, authority=self._authority) for one in listed)

    def policies(self, session: Session) -> StandingPolicies:
        """The key authority's release policy in force, and those that wait.

        Raises:
            SignatureError: A text is not what its digest says (`policy.text`).
        """
        content = self._ask(session, AUTHORITY, "GET", "/policy")
        return read_policies(_read(content, PoliciesTold, service=AUTHORITY))

    def usage(self, session: Session, *, service: str, month: str) -> MonthUsage:
        """What each party used of key authority or platform in a month of UTC.

        Raises:
            InputError: Not a month.
        """
        content = self._ask(session, service, "GET", f"/usage?month={check_month(month)}")
        return _read(content, MonthUsage, service=service)

    def exceptions(self, session: Session, *, state: str) -> tuple[ReadingException, ...]:
        """The gateway's work list, in the order in which exceptions were opened.

        Args:
            state: `open`, `assigned`, `resolved` or `waived`; empty for all.
        """
        path = f"/v1/exceptions?state={quote(state, safe='')}"
        return tuple(self._list(session, GATEWAY, path, ReadingException))

    def exception(self, session: Session, *, number: int) -> ExceptionStatus:
        """An exception, and all that was done to it and said of it."""
        content = self._ask(session, GATEWAY, "GET", f"/v1/exceptions/{number}")
        return _read(content, ExceptionStatus, service=GATEWAY)

    def change_exception(
        self, session: Session, *, number: int, change: Mapping[str, object]
    ) -> ExceptionStatus:
        """Assign an exception, note something, close it or open it again.

        Args:
            change: `state`, `owner`, `due`, `note`, and the `revision` that the reader saw.

        Raises:
            ConflictError: Somebody else changed it meanwhile.
        """
        path = f"/v1/exceptions/{number}/changes"
        content = self._ask(session, GATEWAY, "POST", path, body=dict(change))
        return _read(content, ExceptionStatus, service=GATEWAY)

    def confirm_readings(
        self, session: Session, one: ReadingException, *, span: tuple[str, str], reason: str
    ) -> ReadingEdit:
        """Vouch for readings that validation set aside: they count as they came.

        Args:
            span: Start of the first interval and of the last one, ISO 8601 with offset.
            reason: Why; it is kept.

        Raises:
            InputError: Nothing was set aside there, or the month is fixed.
        """
        return self._mark(session, one, "confirmations", span=span, reason=reason)

    def order_estimate(
        self, session: Session, one: ReadingException, *, span: tuple[str, str], reason: str
    ) -> ReadingEdit:
        """Have readings estimated that count, from the next validation on.

        Args:
            span: Start of the first interval and of the last one, ISO 8601 with offset.
            reason: Why; it is kept.

        Raises:
            InputError: No reading came of that time, or the month is fixed.
        """
        return self._mark(session, one, "estimates", span=span, reason=reason)

    def _mark(
        self,
        session: Session,
        one: ReadingException,
        kind: str,
        *,
        span: tuple[str, str],
        reason: str,
    ) -> ReadingEdit:
        body = {
            "month": one.month,
            "meter_point_id": one.meter_point_id,
            "first": span[0],
            "last": span[1],
            "reason": reason,
        }
        content = self._ask(session, GATEWAY, "POST", f"/v1/edits/{kind}", body=body)
        return _read(content, ReadingEdit, service=GATEWAY)

    def correction_orders(self, session: Session) -> tuple[CorrectionOrder, ...]:
        """Every order of a correction at the gateway, in the order in which they were made."""
        return tuple(self._list(session, GATEWAY, "/v1/correction-orders", CorrectionOrder))

    def corrections(self, session: Session, *, month: str) -> tuple[CorrectionStatus, ...]:
        """Where each correction of a month stands at the gateway, in counts.

        Raises:
            InputError: Not a month.
        """
        path = f"/months/{check_month(month)}/corrections"
        content = self._ask(session, GATEWAY, "GET", path)
        return tuple(_read(content, list[CorrectionStatus], service=GATEWAY))

    def grant_terms(self) -> Terms:
        """How many questions each analyst may ask in a month; everybody may know."""
        url = f"{self._addresses.of(IDENTITY)}/grants/terms"
        return _read(fetch_body(self._http, "GET", url, service=IDENTITY), Terms, service=IDENTITY)

    def start_release_round(self, session: Session) -> tuple[RoundOutcome, ...]:
        """Let the authority check and release what waits at the platform."""
        content = self._ask(session, AUTHORITY, "POST", "/release-rounds")
        return tuple(_read(content, list[RoundOutcome], service=AUTHORITY))

    def start_run(self, session: Session, order: RunOrder) -> str:
        """Start a plan on the platform and return the run's id."""
        body = {
            "plan": order.plan,
            "start": order.start,
            "end": order.end,
            "purpose": order.purpose,
        }
        content = self._ask(session, PLATFORM, "POST", "/runs", body=body)
        return _read(content, RunStarted, service=PLATFORM).run_id

    def runs(self, session: Session) -> tuple[RunStatus, ...]:
        """All runs the platform knows."""
        return tuple(self._list(session, PLATFORM, "/runs", RunStatus))

    def run(self, session: Session, *, run_id: str) -> RunStatus:
        """How far one run is."""
        content = self._ask(session, PLATFORM, "GET", f"/runs/{quote(run_id, safe='')}")
        return _read(content, RunStatus, service=PLATFORM)

    def closing(self, session: Session, *, bounds: tuple[str, str]) -> MonthClosing:
        """A month's committed uploads, its closing lists, and what the next runs would meet.

        Args:
            bounds: Start and end of the month, as `runs.month_bounds` gives.
        """
        start, end = (quote(moment, safe="") for moment in bounds)
        path = f"/closing-lists?start={start}&end={end}"
        content = self._ask(session, PLATFORM, "GET", path)
        return MonthClosing.of_answer(read_object(content, service=PLATFORM))

    def month(self, session: Session, *, month: str) -> MonthStatus:
        """How far the gateway is with a month, `YYYY-MM`.

        Raises:
            InputError: Not a month.
            NotFoundError: The gateway has no files of this month.
        """
        content = self._ask(session, GATEWAY, "GET", f"/months/{check_month(month)}")
        return _read(content, MonthStatus, service=GATEWAY)

    def months(self, session: Session) -> tuple[MonthOnBoard, ...]:
        """The gateway's months of the last two years, the newest first."""
        return tuple(self._list(session, GATEWAY, "/months", MonthOnBoard))

    def start_month(self, session: Session, *, month: str) -> MonthStatus:
        """Let the gateway process a month, or go on where it was interrupted.

        Raises:
            InputError: Not a month.
            NotFoundError: The gateway has no files of this month.
            ConflictError: Another month is being processed.
        """
        content = self._ask(session, GATEWAY, "POST", f"/months/{check_month(month)}/process")
        return _read(content, MonthStatus, service=GATEWAY)

    def _list(
        self, session: Session, service: str, path: str, kind: type[AnswerT]
    ) -> list[AnswerT]:
        url, token = f"{self._addresses.of(service)}{path}", session.token_for(service)
        return fetch_list(self._http, url, kind, service=service, token=token)

    def _ask(
        self, session: Session, service: str, method: str, path: str, *, body: object = None
    ) -> bytes:
        return fetch_body(
            self._http,
            method,
            f"{self._addresses.of(service)}{path}",
            service=service,
            token=session.token_for(service),
            body=body,
        )


def _read(content: bytes, kind: type[AnswerT], *, service: str) -> AnswerT:
    return parse_answer(content, kind, words=PeopleWords(service))
