"""The console in a real browser: each role, page, language and width, light and dark.

One server and one browser for all; a test signs one role in and moves through its pages as a person
does. Screenshots are kept in `build/browser`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser

from gridsecure.messages import ReleaseCertificate
from gridsecure_dashboard import access
from tests.analyst.zone_services import (
    MONTH,
    ORDER,
    PASSWORD,
    RUN,
    SECRETS,
    VALUES,
    ZoneServices,
    asked,
    bill_cells,
    certificate,
    served,
)
from tests.apps.dashboard_server import dashboard
from tests.browser.open_pages import LANGUAGES, USUAL, WIDTHS, Tab
from tests.browser.shown_numbers import find_strange

ROLES: Final = sorted({role for roles in access.ROLES.values() for role in roles})
READERS: Final = access.ROLES[access.REVENUE]
"""Roles that see figures of releases."""
REPORT: Final = MONTH["report"] | {
    "meters": 2195, "billed_meters": 2189, "excluded": {"quarantined": 6}, "rosters": 1
}  # fmt: skip
COUNTED: Final = (*REPORT.values(), *REPORT["problems"].values(), *REPORT["seconds"].values())
ELSEWHERE: Final = frozenset({access.TARIFFS, access.POLICY, access.LEVEL, access.USAGE})
"""Pages of public prices, rules and jobs: nothing on them is a release's."""
ALIKE: Final = frozenset({access.TARIFFS, access.POLICY, access.LEVEL})
"""Pages that show every role the same."""
COUNTS: Final = (
    4,
    6,
    24,
    ORDER["intervals"],
    *(one for one in COUNTED if isinstance(one, int | float)),
)
"""Of no release: meter points withheld or not billed, an analyst's questions, the gateway's own."""
PICTURES: Final = {("zh", 1920), ("en", 390)}


def month_before(
    start: str, end: str, *, percent: tuple[int, int], shops: bool
) -> ReleaseCertificate:
    """Bills of another month: some percent of July's, of energy and of amounts."""
    values = [
        (
            zone,
            kind,
            members,
            energy and energy * percent[0] // 100,
            amount and amount * percent[1] // 100,
        )
        for zone, kind, members, energy, amount in VALUES
        if shops or kind != "shop"
    ]
    moved = {"start": f"{start}-01T00:00:00+08:00", "end": f"{end}-01T00:00:00+08:00"}
    cells = [cell.model_copy(update=moved) for cell in bill_cells(values)]
    return certificate(cells=cells, release_id=f"release-{start}").model_copy(update=moved)


@pytest.fixture(scope="module")
def services() -> Iterator[ZoneServices]:
    services = ZoneServices()
    services.publish(certificate())
    services.publish(month_before("2026-06", "2026-07", percent=(83, 87), shops=True))
    services.publish(month_before("2025-07", "2025-08", percent=(96, 91), shops=False))
    services.publish(certificate(plan="load-curve"))
    services.months["2026-07"] = MONTH | {"report": REPORT}
    services.runs = [
        RUN | {"run_id": name * 16, "plan": plan, "request_id": f"request-{name}"}
        for name, plan in (("ab", "bill"), ("cd", "load-curve"))
    ]
    services.waiting.append(asked())
    with served(services) as address:
        services.address = address
        yield services


@pytest.fixture(scope="module")
def address(services: ZoneServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard(services, folder=tmp_path_factory.mktemp("console")) as address:
        yield address


@pytest.fixture(scope="module")
def only_tab(chromium: Browser, address: str) -> Iterator[Tab]:
    """One tab for all: what a browser fetches and compiles for a new one takes seconds."""
    context = chromium.new_context(color_scheme="light", reduced_motion="reduce")
    yield Tab(context.new_page(), address)
    context.close()


@pytest.fixture
def tab(only_tab: Tab) -> Tab:
    """A tab of somebody who is not signed in."""
    only_tab.start_anew()
    return only_tab


@pytest.mark.parametrize("role", ROLES)
def test_every_page_of_a_role(tab: Tab, services: ZoneServices, role: str) -> None:
    tab.sign_in(role)
    tab.wait_for(access.HOME)
    pages = [page for page, roles in access.ROLES.items() if role in roles]
    # There in one language, and back in the other.
    shown = access.HOME
    for language, way in zip(LANGUAGES, (pages, pages[::-1]), strict=True):
        tab.speak(language, page=shown)
        for page in (page for page in way if is_due(page, role=role, language=language)):
            tab.turn_to(shown := page)
            look_at(tab, role=role, page=page)
            read(tab, services, role=role, page=page)
    assert not tab.noted, "\n".join(tab.noted)


def is_thorough(page: str, *, role: str) -> bool:
    """Whether the page is looked at in all ways: as the first of its roles sees it.

    The start page is another one for each role.
    """
    return page == access.HOME or role == min(access.ROLES[page])


def is_due(page: str, *, role: str, language: str) -> bool:
    """Whether a role opens a page in a language; the roles after a page's first take turns.

    A page that is the same for all is opened by its first role alone.
    """
    turn = list(LANGUAGES)[ROLES.index(role) % len(LANGUAGES)]
    return is_thorough(page, role=role) or (language == turn and page not in ALIKE)


def read(tab: Tab, services: ZoneServices, *, role: str, page: str) -> None:
    """Note every number that this reader should not find here."""
    where, text = f"{role}, {page}, {tab.language}", tab.text()
    if role in READERS and page not in ELSEWHERE:
        strange = find_strange(text, services.certificates.values(), allowed=COUNTS)
        tab.noted += [f"{where}: {number} is in no release" for number in strange]
    else:
        told = [digits for digits in SECRETS if digits in text]
        tab.noted += [f"{where}: a released value: {digits}" for digits in told]


def look_at(tab: Tab, *, role: str, page: str) -> None:
    """See the page at all widths, light and dark, and ask axe about it.

    For roles after a page's first, at the usual width and the smallest; dark for its first alone.
    """
    name, is_first = f"{page}-{role}-{tab.language}", role == min(access.ROLES[page])
    if not is_thorough(page, role=role):
        tab.resize(min(WIDTHS))
        tab.resize(USUAL)
        return
    if tab.language == "zh":
        tab.ask_axe(name)
    elif is_first:
        tab.show_in("dark")
        tab.ask_axe(name)
        tab.keep_picture(f"{name}-dark")
        tab.show_in("light")
    for width in WIDTHS:
        tab.resize(width)
        if (tab.language, width) in PICTURES:
            tab.keep_picture(f"{name}-{width}")


def test_the_sign_in_page(tab: Tab) -> None:
    tab.ask_axe("sign_in")
    for width in WIDTHS:
        tab.resize(width)
        tab.keep_picture(f"sign_in-{width}")
    tab.show_in("dark")
    tab.ask_axe("sign_in")
    tab.keep_picture("sign_in-dark")
    tab.show_in("light")
    assert not tab.noted, "\n".join(tab.noted)


def test_the_keyboard_alone_signs_in_and_turns_to_a_page(tab: Tab) -> None:
    tab.press_to("input[autocomplete=username]").type("billing")
    tab.press_to("input[autocomplete=current-password]").type(PASSWORD)
    tab.page.keyboard.press("Enter")
    tab.wait_for(access.HOME)
    tab.press_to('[data-testid="stSidebarNavLink"][href$="/revenue"]')
    tab.page.keyboard.press("Enter")
    tab.wait_for(access.REVENUE)
    assert not tab.noted, "\n".join(tab.noted)


def test_work_is_done_in_forms(
    tab: Tab, services: ZoneServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator assigns an exception, billing has released what ran: the services are told so."""
    monkeypatch.setattr(services, "exceptions", [dict(one) for one in services.exceptions])
    monkeypatch.setattr(services, "notes", [])
    tab.sign_in("operator")
    tab.wait_for(access.HOME)
    tab.speak("en", page=access.HOME)
    tab.turn_to(access.EXCEPTIONS)
    entered = {"Owner": "Wang", "Due day": "2026-08-20", "Note": "asked the crew"}
    for label, text in entered.items():
        tab.page.get_by_label(label).fill(text)
    tab.page.get_by_role("button", name="Save").click()
    tab.page.get_by_text("Saved.").wait_for()
    changed = services.exceptions[0]
    assert [changed[name] for name in ("state", "owner", "due")] == [
        "assigned",
        "Wang",
        "2026-08-20",
    ]
    assert [note["text"] for note in services.notes] == ["asked the crew"]
    assert not tab.noted, "\n".join(tab.noted)

    tab.start_anew()
    tab.sign_in("billing")
    tab.wait_for(access.HOME)
    tab.turn_to(access.BILL_RUNS)
    tab.page.get_by_role("button", name="Request a release round").click()
    tab.page.locator("canvas td", has_text="request-ab").wait_for(state="attached")
    assert "POST /release-rounds" in services.asked
    assert not tab.noted, "\n".join(tab.noted)
