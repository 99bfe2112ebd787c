"""Who is signed in, and which pages a role may open. What is not allowed here is denied.

The navigation offers a role its pages only, and every page checks again when it starts, so an
address typed by hand opens nothing. Sessions are in `sign_ins`, releases in the page's own state on
the server: never in a cache that users share, never on disk. What a page holds for itself is gone
when another page is entered; who a pseudonym is is not held at all, but asked for each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import httpx
import streamlit as st

from gridsecure.analyst.client import Addresses, ReleaseClient
from gridsecure.analyst.managed_keys import ManagedKeyReader
from gridsecure.analyst.market_reader import MarketReader
from gridsecure.analyst.releases import Release, pin_authority
from gridsecure.analyst.service_levels import ServiceLevel, read_service_level
from gridsecure.errors import AccessDeniedError, AuthenticityError, GridSecureError, InputError
from gridsecure.offices.warrants import OfficeClient
from gridsecure.wire.authority import ReleaseSummary
from gridsecure.wire.connections import TlsFiles, new_client, trust
from gridsecure.wire.sessions import Session
from gridsecure_dashboard.settings import DashboardSettings, load_settings
from gridsecure_dashboard.side_by_side import ask_all
from gridsecure_dashboard.sign_ins import SIGN_INS, cookie_name
from gridsecure_dashboard.wording import say, show_error, tell_audience

HOME: Final = "home"
CYCLE: Final = "cycle"
BILL_RUNS: Final = "bill_runs"
REVENUE: Final = "revenue"
CORRECTIONS: Final = "corrections"
LOAD_CURVE: Final = "load_curve"
LOSSES: Final = "losses"
RELEASES: Final = "releases"
EXCEPTIONS: Final = "exceptions"
APPROVALS: Final = "approvals"
KEYS: Final = "keys"
POLICY: Final = "policy"
LEVEL: Final = "level"
USAGE: Final = "usage"
TARIFFS: Final = "tariffs"
OPENINGS: Final = "openings"
REVOCATIONS: Final = "revocations"
IDENTITY_LOG: Final = "identity_log"
CATALOGUE: Final = "catalogue"
COMPONENTS: Final = "components"
WORKSHOP: Final = "workshop"
PRODUCTS: Final = "products"
MARKET: Final = "market"
ENCRYPTION: Final = "encryption"
SUPERVISION: Final = "supervision"

# Who signs what is released, each with a key of their own.
APPROVERS: Final = frozenset({"data-owner", "privacy-officer"})

# Which roles may open a page; any one of them is enough.
ROLES: Final[Mapping[str, frozenset[str]]] = {
    HOME: APPROVERS | {"billing", "operator", "analyst", "custodian", "regulator", "member"},
    CYCLE: frozenset({"billing", "operator"}),
    BILL_RUNS: frozenset({"billing", "operator"}),
    EXCEPTIONS: frozenset({"operator"}),
    REVENUE: frozenset({"billing", "analyst"}),
    CORRECTIONS: frozenset({"billing", "operator"}),
    LOAD_CURVE: frozenset({"billing", "analyst"}),
    LOSSES: frozenset({"billing", "analyst"}),
    APPROVALS: APPROVERS | {"billing", "operator", "custodian", "regulator"},
    RELEASES: frozenset({"billing", "analyst", "regulator"}),
    POLICY: APPROVERS | {"billing", "operator", "analyst", "custodian", "regulator"},
    LEVEL: APPROVERS | {"billing", "operator", "custodian", "regulator"},
    KEYS: frozenset({"operator", "custodian", "regulator"}),
    USAGE: APPROVERS | {"billing", "operator", "custodian", "regulator"},
    TARIFFS: APPROVERS | {"billing", "operator", "analyst", "custodian", "regulator"},
    OPENINGS: frozenset({"custodian", "regulator"}),
    REVOCATIONS: frozenset({"custodian", "regulator"}),
    IDENTITY_LOG: frozenset({"custodian", "regulator"}),
    CATALOGUE: frozenset({"member", "regulator"}),
    COMPONENTS: frozenset({"member", "regulator"}),
    WORKSHOP: frozenset({"member"}),
    PRODUCTS: frozenset({"member", "regulator"}),
    MARKET: frozenset({"member", "regulator"}),
    ENCRYPTION: frozenset({"member"}),
    SUPERVISION: frozenset({"regulator"}),
}

# So many things that a page made are kept; what is chosen on it is seldom more.
_REMEMBERED: Final = 32

Made = TypeVar("Made")

# Which roles may let the gateway process a month.
MONTH_STARTERS: Final = frozenset({"operator"})

# Whose office signs a month's closing list, on its own machine.
MONTH_CLOSERS: Final = frozenset({"billing"})

# What the services answer when a token is not good, or not good any more.
_REFUSED: Final = "authenticity.refused"


def pages_for(session: Session) -> tuple[str, ...]:
    """The pages that a session may open, in the order of the navigation."""
    return tuple(page for page, roles in ROLES.items() if roles & session.roles)


@st.cache_resource(show_spinner=False)
def _connection(settings: DashboardSettings) -> httpx.Client:
    """One connection pool for the process; it holds no token and no answer."""
    if settings.tls_ca is not None:
        trust(TlsFiles(ca=settings.tls_ca))
    return new_client(timeout=httpx.Timeout(settings.timeout_seconds, connect=5.0))


@st.cache_resource(show_spinner=False)
def _client(settings: DashboardSettings) -> ReleaseClient:
    """One pinned key for the process; it holds no token."""
    return ReleaseClient(
        _connection(settings),
        addresses=Addresses(
            identity=settings.identity_url,
            authority=settings.authority_url,
            platform=settings.platform_url,
            gateway=settings.gateway_url,
        ),
        authority=pin_authority(settings.authority_key),
    )


def open_client() -> ReleaseClient:
    """The client for this dashboard's settings.

    Raises:
        InputError: The settings are incomplete or the pinned key is none.
        GridSecureError: The SM2 engines do not agree; nothing is shown then.
    """
    return _client(load_settings())


def open_offices() -> OfficeClient:
    """The client for what custodians and regulators do.

    Raises:
        InputError: The settings are incomplete.
    """
    settings = load_settings()
    return OfficeClient(_connection(settings), identity_url=settings.identity_url)


def open_market() -> MarketReader:
    """The client of the data market.

    Raises:
        InputError: The settings are incomplete, or name no market (`settings.market`).
    """
    settings = load_settings()
    if not settings.market_url:
        raise InputError(
            "This console is not connected to a market.",
            reason="settings.market",
            remedy="Set GRIDSECURE_DASHBOARD_MARKET_URL to the market's address.",
        )
    return MarketReader(_connection(settings), address=settings.market_url)


def open_encryption() -> ManagedKeyReader:
    """The client of the encryption service.

    Raises:
        InputError: The settings are incomplete, or name no such service (`settings.encryption`).
    """
    settings = load_settings()
    if not settings.encryption_url:
        raise InputError(
            "This console is not connected to an encryption service.",
            reason="settings.encryption",
            remedy="Set GRIDSECURE_DASHBOARD_ENCRYPTION_URL to the service's address.",
        )
    return ManagedKeyReader(_connection(settings), address=settings.encryption_url)


def ask_levels() -> list[ServiceLevel]:
    """Which security level each service of this console says it has.

    Raises:
        GridSecureError: One cannot be reached, or the settings are incomplete.
    """
    settings = load_settings()
    named = {
        "gateway": settings.gateway_url,
        "platform": settings.platform_url,
        "authority": settings.authority_url,
        "identity": settings.identity_url,
        "market": settings.market_url,
    }
    http = _connection(settings)
    return ask_all(
        [
            partial(read_service_level, http, service=name, address=address)
            for name, address in named.items()
            if address
        ]
    )


def current_session() -> Session | None:
    """The session of this tab, or of a tab of the same browser before it; None once it ended."""
    now = datetime.now(UTC)
    name = st.session_state.get("sign_in")
    if name is None:
        name = _sign_in_of_browser(now)
        if name is None:
            return None
        st.session_state["sign_in"] = name
        language = SIGN_INS.language(name)
        if language:
            st.session_state["language"] = language
    session = SIGN_INS.session(name, at=now)
    if session is None:
        sign_out(note="session_expired")
    return session


def _sign_in_of_browser(now: datetime) -> str | None:
    """The sign-in that the browser's cookie names."""
    try:
        settings = load_settings()
    except GridSecureError:
        return None  # the sign-in page says so
    handle = st.context.cookies.get(cookie_name(settings.authority_key))
    return None if handle is None else SIGN_INS.find(handle, at=now)


def keep_session(session: Session) -> None:
    """Remember who signed in; whatever an earlier user left is dropped first."""
    sign_out()
    st.session_state["sign_in"] = SIGN_INS.keep(session, at=datetime.now(UTC))


def note_language() -> None:
    """Note the language on the screen, so that a reload shows it again."""
    name = st.session_state.get("sign_in")
    if name is not None:
        SIGN_INS.note_language(name, language=st.session_state["language"])


def ticket() -> str | None:
    """What the browser posts once to get the cookie of a new sign-in."""
    name = st.session_state.get("sign_in")
    return None if name is None else SIGN_INS.ticket(name, at=datetime.now(UTC))


def sign_out(*, note: str | None = None) -> None:
    """End the sign-in in every tab, forget releases and widgets; only the language stays.

    Args:
        note: Key of a sentence the sign-in page shows once.
    """
    name = st.session_state.get("sign_in")
    if name is not None:
        SIGN_INS.end(name)
    for key in list(st.session_state):
        if key != "language":
            del st.session_state[key]
    if note is not None:
        st.session_state["note"] = note


def local_timezone() -> ZoneInfo:
    """The clock of the supply area, on which staff read times."""
    return ZoneInfo(load_settings().timezone)


def enter(page: str) -> Session:
    """Begin a page: return the session, or stop if its roles may not open the page."""
    session = current_session()
    if session is None:
        st.rerun()
    st.session_state.pop("listed", None)
    if st.session_state.get("page") != page:
        st.session_state["page"] = page
        st.session_state.pop("held", None)
    if page not in pages_for(session):
        show_error(
            AccessDeniedError(
                "Your role may not open this page.",
                reason="page.denied",
                remedy="Choose a page from the menu.",
            )
        )
        st.stop()
    st.title(say(f"page_{page}"))
    st.caption(tell_audience(page, ROLES[page]))
    return session


def page_memory() -> dict[str, Any]:
    """What the page that is open remembers between two runs; another page begins with nothing."""
    kept: dict[str, Any] = st.session_state.setdefault("held", {})
    return kept


def remember(key: tuple[object, ...], make: Callable[[], Made]) -> Made:
    """What was made before on this page, or is made now.

    Args:
        key: What it follows from, all of it; a release by its id, since it never changes.
    """
    made: dict[tuple[object, ...], Made] = page_memory().setdefault("made", {})
    if key not in made:
        if len(made) >= _REMEMBERED:
            made.clear()
        made[key] = make()
    return made[key]


@contextmanager
def explain_errors() -> Iterator[None]:
    """Show a deliberate error as a sentence with its remedy; a refused token ends the session."""
    try:
        yield
    except AuthenticityError as error:
        if type(error) is AuthenticityError and error.reason == _REFUSED:
            sign_out(note="session_refused")
            st.rerun()
        show_error(error)
    except GridSecureError as error:
        show_error(error)


def fetch_release(session: Session, release_id: str) -> Release:
    """A verified release, fetched once a session: a release never changes.

    Raises:
        GridSecureError: It cannot be fetched, or is not what it claims to be.
    """
    kept: dict[str, Release] = st.session_state.setdefault("verified_releases", {})
    if release_id not in kept:
        kept[release_id] = open_client().release(session, release_id=release_id)
    return kept[release_id]


def fetch_releases(session: Session, release_ids: Sequence[str]) -> list[Release]:
    """Verified releases, in the order asked for; those that were not fetched yet, side by side.

    Raises:
        GridSecureError: As `fetch_release`.
    """
    kept: dict[str, Release] = st.session_state.setdefault("verified_releases", {})
    missing = list(dict.fromkeys(name for name in release_ids if name not in kept))
    client = open_client()
    found = ask_all([partial(client.release, session, release_id=name) for name in missing])
    kept |= dict(zip(missing, found, strict=True))
    return [kept[name] for name in release_ids]


def list_releases(session: Session) -> tuple[ReleaseSummary, ...]:
    """What was released, newest first, as the key authority told it once in this run of the page.

    Raises:
        GridSecureError: The list cannot be fetched.
    """
    listed: tuple[ReleaseSummary, ...] | None = st.session_state.get("listed")
    if listed is None:
        listed = st.session_state["listed"] = open_client().releases(session)
    return listed


def sees_values(session: Session) -> bool:
    """Whether the reader's roles see figures of releases."""
    return bool(session.roles & ROLES[REVENUE])
