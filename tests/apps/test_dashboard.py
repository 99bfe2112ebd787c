"""Every page for every role, with real settings, sockets and signatures.

The services behind the socket refuse what a role may not have; these tests also check what the
dashboard itself offers, and that no page prints a number that was not released to the reader.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import streamlit as st
import typer
from google.protobuf import text_format
from streamlit.runtime import context
from streamlit.testing.v1 import AppTest

from gridsecure.cli.approval import approval_app
from gridsecure.cli.correction import correction_app
from gridsecure.cli.keys import keys_app
from gridsecure.cli.main import app as whole_app
from gridsecure.cli.period import period_app
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.messages import CountedPlace, MergeStep, Merging, OwnCount, ReleaseCertificate
from gridsecure.plans.cells import MEASURES
from gridsecure.plans.purposes import STAFF_PURPOSES
from gridsecure.policy.packs import list_packs, load_pack
from gridsecure.products.designs import list_standard
from gridsecure.statements.wording import Language, Wording
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures, load_months, starts, tables
from gridsecure_dashboard.code_phrases import CODE_PHRASES
from gridsecure_dashboard.grid_phrases import GRID_PHRASES
from gridsecure_dashboard.market_phrases import MARKET_PHRASES
from gridsecure_dashboard.office_phrases import OFFICE_PHRASES
from gridsecure_dashboard.page_phrases import PAGE_PHRASES
from gridsecure_dashboard.phrases import PHRASES
from gridsecure_dashboard.protection_phrases import PROTECTION_PHRASES
from gridsecure_dashboard.sign_ins import SIGN_INS, cookie_name
from gridsecure_dashboard.tariff_phrases import TARIFF_PHRASES
from gridsecure_dashboard.views import bill_runs
from gridsecure_dashboard.work_phrases import WORK_PHRASES
from tests.analyst import market_services
from tests.analyst.logged_certificates import write_certificate
from tests.analyst.office_services import (
    PERSON,
    SUBJECT,
    UNKNOWN,
    search,
    share_of,
)
from tests.analyst.zone_services import (
    BILL_ID,
    CURVE_ID,
    EXCEPTION,
    MONTH,
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

NOW = datetime.now(UTC)
SHENZHEN = ZoneInfo("Asia/Shanghai")
ENTRY = Path(__file__).resolve().parents[2] / "apps/dashboard/gridsecure_dashboard/main.py"
PAGES = {
    "billing": {
        *("home", "cycle", "bill_runs", "revenue", "corrections", "load_curve", "losses"),
        *("approvals", "releases", "policy", "level", "usage", "tariffs"),
    },
    "operator": {
        *("home", "cycle", "bill_runs", "exceptions", "corrections", "approvals", "policy"),
        *("level", "keys", "usage", "tariffs"),
    },
    "analyst": {"home", "revenue", "load_curve", "losses", "releases", "policy", "tariffs"},
    "regulator": {
        *("home", "approvals", "releases", "policy", "level", "keys", "usage", "tariffs"),
        *("openings", "revocations", "identity_log", "catalogue", "components", "products"),
        *("market", "supervision"),
    },
    "custodian": {
        *("home", "approvals", "policy", "level", "keys", "usage", "tariffs", "openings"),
        *("revocations", "identity_log"),
    },
    "data-owner": {"home", "approvals", "policy", "level", "usage", "tariffs"},
    "member": {"home", "catalogue", "components", "workshop", "products", "market", "encryption"},
    "unheard-of": set[str](),
}
# Who has no page is told so at the start, and where to go instead.
NOBODYS = ("unheard-of", "home")
MATRIX = [(r, page) for r in PAGES for page in access.ROLES if (r, page) != NOBODYS]


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneServices]:
    services = ZoneServices()
    services.publish(certificate())
    services.publish(certificate(plan="load-curve"))
    services.waiting.append(asked())
    with served(services) as address:
        for name in ("IDENTITY", "AUTHORITY", "PLATFORM", "GATEWAY", "MARKET", "ENCRYPTION"):
            monkeypatch.setenv(f"GRIDSECURE_DASHBOARD_{name}_URL", address)
        point = services.key.public_key.point.hex()
        monkeypatch.setenv("GRIDSECURE_DASHBOARD_AUTHORITY_KEY", point)
        services.address = address
        yield services


def opened() -> AppTest:
    return AppTest.from_file(str(ENTRY), default_timeout=30).run()


def signed_in(role: str) -> AppTest:
    app = opened()
    app.text_input[0].input(role)
    app.text_input[1].input(PASSWORD)
    button(app, "Sign in with password").click().run()
    assert not app.exception
    return app


def signed_in_by_code(code: str) -> AppTest:
    app = opened()
    app.text_area[0].input(code)
    app.button[0].click().run()
    assert not app.exception
    return app


def button(app: AppTest, label: str):
    """The button whose label ends so, in whatever language comes before."""
    return next(one for one in app.button if one.label.endswith(label))


def on_page(role: str, page: str) -> AppTest:
    app = signed_in(role)
    app.switch_page(f"views/{page}.py").run()
    assert not app.exception
    return app


def sent(app: AppTest) -> str:
    """Everything the server sent to the browser, tables and charts included."""
    parts = [
        text_format.MessageToString(element.proto, as_utf8=True)
        for element in (*app.main, *app.sidebar)
        if element.proto is not None
    ]
    parts += [table.value.to_csv() for table in app.dataframe]
    return "\n".join(parts)


MENU: list[set[str]] = []


def offered(app: AppTest) -> set[str]:
    """Pages in the menu of the last run, as `st.navigation` was told them."""
    assert not app.exception
    return MENU[-1]


def session_of(app: AppTest) -> Session:
    session = SIGN_INS.session(app.session_state["sign_in"], at=NOW)
    assert session is not None
    return session


class Browser:
    """The cookies that a browser's connection brings along."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}
        self.remote_ip = "127.0.0.1"
        self.client_context = self


@pytest.fixture(autouse=True)
def browser(monkeypatch: pytest.MonkeyPatch, scanned_once: None) -> Browser:
    browser, navigation = Browser(), st.navigation

    def told(pages, *, position, expanded):
        shown = [page for page in pages if page.visibility == "visible"]
        MENU.append({Path(str(page._page)).stem for page in shown if position == "sidebar"})
        return navigation(pages, position=position, expanded=expanded)

    monkeypatch.setattr(st, "navigation", told)
    monkeypatch.setattr(context, "_get_client_context", lambda: browser)
    return browser


# --- who gets in, and where --------------------------------------------------------------------


def test_signed_out_there_is_a_sign_in_page_and_nothing_else(services) -> None:
    for page in access.ROLES:
        app = opened()
        app.switch_page(f"views/{page}.py").run()
        assert offered(app) == set()
        assert "gridsecure identity sign-in --key KEY_FILE" in app.code[0].value
        assert not app.title[0].value.startswith(PHRASES.get(f"page_{page}", ("?",))[0])
    assert set(services.asked) == {"GET /about"}


def test_a_code_lets_somebody_in_and_is_kept_nowhere(services) -> None:
    code = services.offices.code("custodian")
    app = signed_in_by_code(code)
    assert offered(app) == PAGES["custodian"]
    assert "custodian by key" in sent(app)
    session = session_of(app)
    assert session.tokens == {
        "authority": "custodian:authority",
        "identity": "custodian:identity",
    }
    assert code not in repr(app.session_state)
    assert code not in sent(app)
    assert "POST /sign-in" not in services.asked


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda offices: offices.code("billing", age=timedelta(minutes=2)), "session.code"),
        (lambda offices: "not a code", "session.code-shape"),
    ],
    ids=["expired", "garbage"],
)
def test_a_bad_code_lets_nobody_in(services, make, reason) -> None:
    code = make(services.offices)
    app = signed_in_by_code(code)
    assert f"`{reason}`" in app.error[0].value
    assert "sign_in" not in app.session_state
    assert code not in sent(app)


def test_a_code_is_good_once(services) -> None:
    code = services.offices.code("billing")
    assert offered(signed_in_by_code(code)) == PAGES["billing"]
    assert "`session.code`" in signed_in_by_code(code).error[0].value


def test_an_empty_code_is_not_sent(services) -> None:
    app = signed_in_by_code("  ")
    assert "Paste a sign-in code" in app.warning[0].value
    assert "POST /person-tokens" not in services.asked


def test_passwords_are_asked_for_only_where_the_service_takes_them(services) -> None:
    app = opened()
    assert len(app.text_input) == 2
    assert "For the local demonstration only" in sent(app)
    services.offices.passwords = False
    app = opened()
    assert not app.text_input
    assert len(app.button) == 1
    assert "demonstration" not in sent(app)


def test_a_wrong_password_lets_nobody_in(services) -> None:
    app = opened()
    app.text_input[0].input("billing")
    app.text_input[1].input("not the password")
    button(app, "Sign in with password").click().run()
    assert "session.sign-in" in app.error[0].value
    assert "not the password" not in sent(app)
    assert "sign_in" not in app.session_state


def test_both_fields_are_needed(services) -> None:
    app = opened()
    button(app, "Sign in with password").click().run()
    assert "password" in app.warning[0].value
    assert set(services.asked) == {"GET /about"}


@pytest.mark.parametrize("role", PAGES)
def test_the_menu_offers_a_role_its_pages_only(services, role) -> None:
    assert offered(signed_in(role)) == PAGES[role]


@pytest.mark.parametrize(("role", "page"), MATRIX)
def test_a_page_checks_the_role_itself(services, role, page) -> None:
    """Not the menu but the page is asked, as if its address were typed by hand."""
    app = AppTest.from_file(str(ENTRY.parent / "views" / f"{page}.py"), default_timeout=30)
    session = Session(
        user=role,
        roles=frozenset({role}),
        expires_at=datetime(2099, 1, 1, tzinfo=UTC),
        tokens={
            name: f"{role}:{name}"
            for name in ("authority", "platform", "gateway", "identity", "market", "encryption")
        },
    )
    app.session_state["sign_in"] = SIGN_INS.keep(session, at=NOW)
    app.run()
    if page in PAGES[role]:
        assert not app.error
        assert len(app.main) > 3
    else:
        assert "page.denied" in app.error[0].value
        assert services.asked == []
        assert not app.dataframe
        assert not app.metric


def test_signing_out_forgets_everything_but_the_language(services) -> None:
    app = on_page("billing", "revenue")
    assert app.session_state["verified_releases"]
    app.selectbox(key="language").select("English").run()
    next(button for button in app.button if button.label == "Sign out").click().run()
    assert offered(app) == set()
    assert "sign_in" not in app.session_state
    assert "verified_releases" not in app.session_state
    assert app.session_state["language"] == "English"


def test_a_reload_shows_the_language_that_was_chosen(services, browser) -> None:
    app = signed_in("billing")
    app.selectbox(key="language").select("English").run()
    ticket = SIGN_INS.ticket(app.session_state["sign_in"], at=NOW)
    handle = SIGN_INS.redeem(ticket, at=NOW)
    browser.cookies[cookie_name(services.key.public_key.point.hex())] = handle.text
    again = opened()
    assert again.selectbox(key="language").value == "English"
    assert "Signed in as" in sent(again)
    assert "当前用户" not in sent(again)


def test_an_expired_session_goes_back_to_sign_in(services) -> None:
    services.expires_at = "2020-01-01T00:00:00+00:00"
    app = signed_in("billing")
    assert offered(app) == set()
    assert "expired" in app.warning[0].value


def test_a_refused_token_goes_back_to_sign_in(services) -> None:
    app = signed_in("analyst")
    services.tokens_expired = True
    app.switch_page("views/releases.py").run()
    assert offered(app) == set()
    assert "no longer accepts" in app.warning[0].value


def test_the_token_is_never_sent_to_the_browser(services) -> None:
    for page in PAGES["billing"]:
        assert "billing:authority" not in sent(on_page("billing", page))


# --- start page --------------------------------------------------------------------------------


def earlier_month(factor: int) -> ReleaseCertificate:
    """The bills of June, a factor in percent of July's."""
    moved = {"start": "2026-06-01T00:00:00+08:00", "end": "2026-07-01T00:00:00+08:00"}
    values = [
        (z, c, n, e and e * factor // 100, a and a * factor // 100) for z, c, n, e, a in VALUES
    ]
    cells = [cell.model_copy(update=moved) for cell in bill_cells(values)]
    return certificate(cells=cells, release_id="release-june").model_copy(update=moved)


def test_billing_starts_with_the_month_its_change_and_what_waits(services) -> None:
    services.publish(earlier_month(80))
    report = MONTH["report"] | {"meters": 2195, "excluded": {"too-many-gaps": 6}, "rosters": 1}
    services.months["2026-07"] = MONTH | {"report": report}
    app = on_page("billing", "home")
    assert [metric.value for metric in app.metric] == [
        "49.22 万 · 492.22 k", "710.00 MWh", "2,185", "0.6933",
    ]  # fmt: skip
    assert app.metric[0].delta == "+25.0% 比 2026 年 6 月 from June 2026"
    assert "492,222.13" in app.metric[0].help
    assert "2,195 meter points taken in" in app.success[0].value
    assert "Releases waiting for approval: 1" in app.warning[0].value
    steps = app.dataframe[0].value
    assert steps["state"].tolist()[:2] == ["完成 Done"] * 2
    assert f"GET /releases/{CURVE_ID}" not in services.asked  # a month of them is slow to verify


def test_an_officer_starts_with_what_waits_for_that_officer(services) -> None:
    app = on_page("data-owner", "home")
    assert "Waiting for you: 1" in app.warning[0].value
    assert app.dataframe[0].value["asked_policy"].tolist() == ["strict 3"]
    services.waiting.clear()
    assert "Nothing waits for you" in on_page("data-owner", "home").success[0].value


def test_a_regulator_starts_with_releases_and_refusals_and_no_value(services) -> None:
    services.waiting.append(asked(question="ab" * 32) | {"state": "refused"})
    app = on_page("regulator", "home")
    counts = {metric.label.split()[-1]: metric.value for metric in app.metric}
    assert (counts["verify"], counts["policy"], counts["officers"]) == ("0", "1", "0")
    assert app.dataframe[-1].value["requested_by"].tolist() == ["billing", "billing"]
    assert not [digits for digits in SECRETS if digits in sent(app)]


def test_a_regulator_is_told_where_the_newest_release_was_not_looked_at(
    services, monkeypatch
) -> None:
    """Also where as many smaller ones stand behind it, which all verify."""
    by_size = sorted(services.certificates.items(), key=lambda one: len(one[1].cells))
    monkeypatch.setattr(starts, "_NEWEST", 1)
    monkeypatch.setattr(starts, "_CELLS_OPENED", 2 * len(by_size[0][1].cells))
    for listed, told in ((by_size, False), (by_size[::-1], True)):
        services.certificates = dict(listed)
        notes = [caption.value for caption in on_page("regulator", "home").caption]
        assert any("Larger releases are not opened" in note for note in notes) is told


def test_an_analyst_starts_with_the_month_and_the_budget_of_questions(services) -> None:
    app = on_page("analyst", "home")
    assert [metric.value for metric in app.metric][-2:] == ["0", "24"]
    assert app.metric[-1].label.endswith("Questions for each analyst (2026-07)")


def test_a_release_that_does_not_verify_is_an_alarm(services, monkeypatch) -> None:
    point = generate_private_key().public_key.point.hex()
    monkeypatch.setenv("GRIDSECURE_DASHBOARD_AUTHORITY_KEY", point)
    app = on_page("regulator", "home")
    assert next(m.value for m in app.metric if m.label.endswith("do not verify")) == "2"


def test_an_operator_starts_with_exceptions_and_sees_no_release(services) -> None:
    services.exceptions[0] |= {"state": "assigned", "due": "2026-01-01"}
    app = on_page("operator", "home")
    assert "Exceptions to deal with: 1" in app.warning[0].value
    assert "overdue: 1" in app.warning[0].value
    assert "GET /releases" not in services.asked


def test_the_board_shows_every_month_from_due_to_released(services) -> None:
    services.runs.append(RUN | {"state": "running", "done": 1, "of": 4})
    app = on_page("billing", "cycle")
    (row,) = app.dataframe[0].value.to_dict("records")
    counts = [row[f"{name}_points"] for name in ("due", "read", "billed", "held", "released")]
    assert counts == ["4,096", "4,096", "4,090", "6", "2,185"]
    assert row["step_compute"] == "进行中 Running"
    zones = app.dataframe[1].value
    assert zones["groups_withheld"].tolist() == ["0", "1"]
    assert "1 / 4" in sent(app)
    operator = on_page("operator", "cycle")
    assert "released_points" not in operator.dataframe[0].value
    assert "GET /releases" not in services.asked[-12:]


# --- revenue -----------------------------------------------------------------------------------


def test_revenue_of_a_month_beside_the_one_before(services) -> None:
    services.publish(earlier_month(80))
    app = on_page("analyst", "revenue")
    assert app.metric[0].delta.startswith("+25.0%")
    bridge, by_zone, by_class, by_month, _ = (table.value for table in app.dataframe)
    assert bridge["amount"].tolist()[0] == "393,777.68"
    assert bridge["amount"].tolist()[-1] == "492,222.13"
    assert by_zone["change"].tolist() == ["+25.0%", "+25.0%"]
    assert by_class["change"].tolist()[-1] == figures.NOTHING
    assert by_month["name"].tolist() == ["2026-07", "2026-06"]
    app.segmented_control(key="compare_with").set_value("year_before").run()
    assert app.metric[0].delta == ""
    assert any("No bills of 2025-07" in caption.value for caption in app.caption)


def test_revenue_shows_control_totals_with_their_release(services) -> None:
    app = on_page("analyst", "revenue")
    assert [metric.value for metric in app.metric] == [
        "49.22 万 · 492.22 k", "710.00 MWh", "2,185", "0.6933",
    ]  # fmt: skip
    text = sent(app)
    assert BILL_ID.replace("-", "\\\\-") in text or BILL_ID in text
    assert "only from signed releases" in text


def test_figures_are_exported_with_their_certificate_and_who_exported_them(services) -> None:
    for page, kinds in (("revenue", 3), ("load_curve", 3)):
        app = on_page("billing", page)
        assert len(app.get("download_button")) == kinds
        assert any("who exported them" in caption.value for caption in app.caption)


def test_revenue_marks_suppressed_cells_and_says_they_are_in_no_sum(services) -> None:
    app = on_page("analyst", "revenue")
    cells = app.dataframe[-1].value
    (row,) = cells[cells["class_shown"] == "工业 Factory"].to_dict("records")
    for name in ("bills", "energy_kwh", "amount_yuan", "average_yuan_per_kwh"):
        assert row[name] == figures.NOTHING
    assert "fewer than 15" in row["note"]
    assert "fewer than 15 customers, even merged (policy –): 1." in app.warning[0].value
    by_class = app.dataframe[1].value
    assert by_class["name"].tolist() == ["居民 Household", "商业 Shop", "工业 Factory"]
    assert by_class["left_out"].tolist() == ["0", "0", "1"]


def test_a_merged_cell_has_the_names_of_its_parts_and_no_row_is_blank(services) -> None:
    """64 meter points in seven zones: each zone has too few, and together they are one cell."""
    zones = ("futian", "luohu", "nanshan", "baoan", "longgang", "yantian", "pingshan")
    counts = [OwnCount(owner=1, points=9, customers=9)]
    places = [CountedPlace(zone=z, customer_class="household", counts=counts) for z in zones]
    cells = [
        one.model_copy(update={"parts": list(range(7))})
        for one in bill_cells([("city", "household", 63, 9_000_000, 500_000)])
    ]
    merging = Merging(classes=["*"], steps=[MergeStep(areas={"city": ["*"]})])
    changes = {
        "places": places,
        "merging": {"monthly": merging},
        "minima": {"monthly": {"*": dict.fromkeys(MEASURES, 15)}},
    }
    services.publish(certificate(cells=cells).model_copy(update=changes))
    app = on_page("billing", "revenue")
    (row,) = app.dataframe[-1].value.to_dict("records")
    assert (row["bills"], row["amount_yuan"]) == ("63", "5,000.00")
    assert "Bao'an" in row["zone_shown"]
    assert "5 more" in row["zone_shown"]
    assert "另 5 个" in row["zone_shown"]
    assert row["class_shown"] == "居民 Household"
    assert not app.warning
    assert any("merged from several" in caption.value for caption in app.caption)
    releases = on_page("billing", "releases")
    assert "5 more" in sent(releases)


def test_every_row_of_every_group_is_in_sight(services) -> None:
    """Sixteen groups, the last one withheld: none behind a scroll bar within the page."""
    values = [(f"zone-{i:02}", "shop", 20, 1000, 70) for i in range(15)]
    values.append(("zone-15", "shop", 3, None, None))
    services.publish(certificate(cells=bill_cells(values)))
    app = on_page("billing", "revenue")
    by_zone, cells = app.dataframe[0].value, app.dataframe[-1].value
    assert by_zone["name"].tolist()[-1] == "zone-15"
    assert by_zone["amount_yuan"].tolist()[-1] == figures.NOTHING
    assert "fewer than 15" in cells["note"].tolist()[-1]
    assert len(cells) == 16
    heights = []
    tables.st, shown = ShownTables(heights), tables.st
    try:
        tables.show_table(cells, titles={"note": "State"}, whole=True)
    finally:
        tables.st = shown
    assert heights == [35 * 17 + 3]


class ShownTables:
    """Streamlit as far as a table needs it; remembers how high it is drawn."""

    column_config = st.column_config

    def __init__(self, heights: list[int]) -> None:
        self._heights = heights

    def dataframe(self, _rows, *, height, **_options) -> None:
        self._heights.append(height)


def test_a_month_is_reconciled_where_the_role_sees_both_sides(services) -> None:
    report = MONTH["report"] | {"meters": 2195, "excluded": {"too-many-gaps": 6}, "rosters": 1}
    services.months["2026-07"] = MONTH | {"report": report}
    for page in ("revenue", "bill_runs", "load_curve"):
        app = on_page("billing", page)
        if page == "bill_runs":
            app.selectbox(key="month").set_value("2026-07").run()
        said = " ".join(item.value for item in app.success)
        assert (
            "2,195 meter points taken in = 2,185 billed, their group shown in full + 4 billed, "
            "a figure of their group withheld (groups: 1) + 0 not released yet + 6 not billed"
        ) in said
    app = on_page("analyst", "revenue")
    assert "taken in" not in sent(app)
    assert "GET /months/2026-07" not in services.asked[-3:]
    report["meters"] = 2191  # now nobody would be in the group that is withheld
    app = on_page("billing", "revenue")
    assert "do not reconcile" in app.error[0].value


def test_a_page_asks_once_a_run_what_was_released_and_computes_a_month_once(
    services, monkeypatch
) -> None:
    app = on_page("billing", "load_curve")
    before, made = len(services.asked), []
    monkeypatch.setattr(load_months, "compute_month", made.append)
    app.run()
    assert services.asked[before:].count("GET /releases") == 1
    assert made == []  # the month that was computed before
    app.run()
    assert services.asked[before:].count("GET /releases") == 2  # and anew in the next run


def test_energy_of_bills_and_of_curves_is_compared(services) -> None:
    app = on_page("analyst", "revenue")
    assert "Futian / 居民 Household" in app.warning[-1].value
    cells = [cell for cell in bill_cells() if cell.measure == "energy_wh"]
    services.publish(certificate(plan="load-curve", cells=cells))
    app = on_page("analyst", "revenue")
    assert "709,999.991 kWh, in the groups that both show" in app.success[-1].value


@pytest.mark.parametrize("role", ["billing", "operator"])
def test_a_month_released_in_full_is_not_offered_again(services, role) -> None:
    """The platform says so: an operator sees no release, and learns it all the same."""
    del services.certificates[CURVE_ID]
    app = on_page(role, "bill_runs")
    app.selectbox(key="month").set_value("2026-07").run()
    assert app.button(key="start_bill").disabled
    assert "would release nothing new" in sent(app)
    assert not app.button(key="start_load-curve").disabled
    services.open_uploads = ("b7",)  # a roster came later
    app.run()
    assert app.button(key="start_bill").disabled
    assert "Later uploads must be closed first" in sent(app)
    assert ("GET /releases" in services.asked) == (role == "billing")


def test_a_month_is_closed_by_the_office_with_the_command_of_the_page(services) -> None:
    services.certificates.clear()
    services.closed_uploads, services.open_uploads = (), ("a1", "b7")
    app = on_page("billing", "bill_runs")
    app.selectbox(key="month").set_value("2026-07").run()
    for plan in ("bill", "load-curve"):
        assert app.button(key=f"start_{plan}").disabled
    assert "must first sign the closing list" in sent(app)
    assert "Uploads not closed yet: 2." in app.info[-1].value
    uploads = app.dataframe[-1].value
    assert uploads["upload"].tolist() == ["a1" * 32, "b7" * 32]
    assert uploads["gateway"].tolist() == ["futian-1", "futian-1"]
    command = app.code[0].value
    assert command.startswith("gridsecure period close --month 2026-07 ")
    options = {word for word in command.split() if word.startswith("--")}
    known = typer.main.get_command(period_app).commands["close"].params
    assert options <= {option for param in known for option in param.opts}
    needed = {param.opts[0] for param in known if param.required}
    assert needed <= options
    operator = on_page("operator", "bill_runs")
    operator.selectbox(key="month").set_value("2026-07").run()
    assert not operator.code
    services.closed_uploads, services.open_uploads = ("a1", "b7"), ()
    app.button(key="refresh_closing").click().run()
    assert not app.button(key="start_bill").disabled
    assert not app.code
    assert set(app.dataframe[-1].value["state"]) == {"有效 In force"}


def test_a_closing_list_in_another_shape_is_an_error_in_words(services) -> None:
    services.closing = lambda start: {"closed": [{"body": 7}]}
    app = on_page("billing", "bill_runs")
    assert "`message.answer`" in app.error[0].value


def test_no_page_shows_a_time_of_another_clock(services) -> None:
    for page in PAGES["billing"]:
        text = sent(on_page("billing", page))
        assert "+00:00" not in text
        assert "UTC" not in text or page == "usage"  # whose months are those of the logs


def test_revenue_in_either_language(services) -> None:
    app = on_page("analyst", "revenue")
    labels = {}
    for language in ("中文 · English", "中文", "English"):
        app.selectbox(key="language").select(language).run()
        labels[language] = app.metric[0].label
    assert labels == {
        "中文 · English": "电费 (元) Amount (yuan)",
        "中文": "电费 (元)",
        "English": "Amount (yuan)",
    }


# --- corrections -------------------------------------------------------------------------------


def test_corrections_of_a_month_from_order_to_release(services) -> None:
    cells = bill_cells(
        [("futian", "household", 40, -500_000, -30_050), ("luohu", "shop", 3, None, None)]
    )
    services.publish(certificate(plan="rebill", cells=cells, release_id="release-rebill"))
    app = on_page("billing", "corrections")
    assert [one.value for one in app.metric] == ["1", "4", "0", "40", "-300.50"]
    orders, made, left_out, totals = (table.value for table in app.dataframe)
    assert orders["state"].tolist() == ["待审批 Waiting for a second person"]
    assert orders["correction_by"].tolist() == ["读数文件 readings × 1"]
    assert made["correction_billed"].tolist() == ["4"]
    assert left_out["name"].tolist() == ["远高于自身平均值 Far above its own mean"]
    assert totals["amount_change"].tolist() == ["-300.50", figures.NOTHING]
    assert app.code[0].value.startswith("gridsecure correction approve 3 ")
    assert len(app.get("download_button")) == 3
    known = typer.main.get_command(correction_app).commands["approve"].params
    options = {word for word in app.code[0].value.split() if word.startswith("--")}
    assert {one.opts[0] for one in known if one.required and one.opts[0][0] == "-"} <= options
    assert options <= {option for one in known for option in one.opts}


def test_an_operator_sees_corrections_without_an_amount(services) -> None:
    services.publish(certificate(plan="rebill", release_id="release-rebill"))
    app = on_page("operator", "corrections")
    assert [one.value for one in app.metric] == ["1", "4", "0"]
    assert "no amounts" in app.info[0].value
    assert not [digits for digits in SECRETS if digits in sent(app)]
    services.orders, services.corrections = [], []
    app.run()
    assert any("No corrections were ordered" in caption.value for caption in app.caption)


# --- policy and keys ---------------------------------------------------------------------------


def test_the_policy_says_its_rules_and_what_becomes_of_a_request(services) -> None:
    app = on_page("analyst", "policy")
    rules = app.dataframe[0].value
    assert app.header[0].value.endswith("version 3")
    assert rules["policy_rule"].tolist()[0] == "月度控制总数 Control totals of a month"
    assert rules["minimum_members"].tolist() == ["15", "100", "15"]
    assert len(app.get("download_button")) == 3
    assert rules["customer_class"].tolist()[1] == "居民 Household, 其他类别 Any other class"
    app.selectbox(key="policy_purpose").select("operations")
    app.selectbox(key="policy_measure").select("energy_wh")
    app.selectbox(key="policy_asked_resolutions").select("interval")
    app.selectbox(key="policy_customer_class").select("household").run()
    assert "groups of at least 100 customers" in app.success[0].value
    assert "数据所有者 data owner, 隐私官 privacy officer" in app.success[0].value
    app.selectbox(key="policy_measure").select("amount_fen").run()
    assert "No rule permits it" in app.warning[0].value
    permitted = app.dataframe[-1].value
    assert set(permitted["minimum_members"]) == {"15", "100"}


@pytest.mark.parametrize("name", list_packs())
def test_every_policy_that_ships_has_its_title_in_both_languages(name) -> None:
    chinese, english = PHRASES[f"pack_title_{name}"]
    assert load_pack(name).title.endswith(english)
    assert re.search("[一-龥]", chinese)
    assert f"pack_{name}" in PHRASES


def test_a_policy_of_another_digest_is_not_shown(services, monkeypatch) -> None:
    told = services._policy()
    told["in_force"]["digest"] = "ab" * 32
    monkeypatch.setattr(services, "_policy", lambda: told)
    app = on_page("regulator", "policy")
    assert "`policy.text`" in app.error[0].value
    assert not app.dataframe


def test_key_sets_and_who_moves_them(services) -> None:
    app = on_page("custodian", "keys")
    assert [one.value for one in app.metric] == ["1", "1"]
    listed = app.dataframe[0].value
    assert listed["generation"].tolist() == ["1", "2"]
    assert len(app.get("download_button")) == 3
    assert listed["state"].tolist() == ["已停用 Retired", "使用中 In force"]
    said = [code.value for code in app.code if code.value.startswith("gridsecure")]
    assert [text.split()[2:4] for text in said] == [
        ["show", "key-2"], ["suspend", "key-2"], ["rotate", "key-2"],
    ]  # fmt: skip
    known = typer.main.get_command(keys_app).commands
    for text in said:
        options = {word for word in text.split() if word.startswith("--")}
        params = known[text.split()[2]].params
        assert {one.opts[0] for one in params if one.required and one.opts[0][0] == "-"} <= options
        assert options <= {option for one in params for option in one.opts}
    operator = on_page("operator", "keys")
    assert not [code for code in operator.code if code.value.startswith("gridsecure")]


def test_a_key_set_of_another_authority_is_not_shown(services, monkeypatch) -> None:
    point = generate_private_key().public_key.point.hex()
    monkeypatch.setenv("GRIDSECURE_DASHBOARD_AUTHORITY_KEY", point)
    app = on_page("operator", "keys")
    assert "`keys.notice`" in app.error[0].value
    assert not app.code


# --- usage -------------------------------------------------------------------------------------


def test_usage_by_party_is_shown_and_exported(services) -> None:
    app = on_page("billing", "usage")
    assert [one.value for one in app.metric] == ["0", "86", "0", "0"]
    rows = app.dataframe[0].value
    assert rows["usage_amount"].tolist() == ["71.6 MiB", "12", "31"] * 2
    assert rows["usage_party"].tolist()[2] == "全体分析员 All analysts"
    assert len(app.get("download_button")) == 3
    services.used = []
    app.run()
    assert "Nothing was used" in app.info[0].value


def test_a_regulator_sees_the_usage_of_the_key_authority_alone(services) -> None:
    app = on_page("regulator", "usage")
    assert set(app.dataframe[0].value["usage_zone"]) == {"密钥管理方 Key authority"}


# --- tariffs -----------------------------------------------------------------------------------


def test_a_tariff_is_explained_and_compared(services) -> None:
    app = on_page("analyst", "tariffs")
    app.selectbox(key="tariff").select("shenzhen-commercial-capacity@2025-02").run()
    assert not app.exception
    tables = [table.value for table in app.dataframe]
    build_up = next(one for one in tables if "峰 peak" in one)
    assert build_up["峰 peak"].tolist()[-1] == "1.15526875"  # the published price of the peak
    assert "not confirmed" in app.warning[0].value
    other = app.selectbox(key="tariff_other_shenzhen-commercial-capacity@2025-02")
    other.select("shenzhen-commercial-demand@2025-02").run()
    changes = app.dataframe[-1].value
    assert "容量电费 Capacity" in changes["tariff_row"].tolist()
    assert len(app.get("download_button")) == 6  # the rates, and the differences


def test_a_tariff_whose_price_depends_on_the_energy_is_not_added_up(services) -> None:
    app = on_page("data-owner", "tariffs")
    app.selectbox(key="tariff").select("shanghai-residential-tiers").run()
    assert not app.exception
    assert any("depends on the month's energy" in caption.value for caption in app.caption)


def test_charges_and_periods_have_the_names_of_statements() -> None:
    """One name for a thing: the page's words and those of the bill."""
    for language, index in ((Language.CHINESE, 0), (Language.ENGLISH, 1)):
        words = Wording(language, "CNY")
        for key, pair in TARIFF_PHRASES.items():
            prefix, _, code = key.partition("_")
            if prefix in {"charge", "tou"} and code and code != "period":
                named = words.charge(code) if prefix == "charge" else words.tou_period(code)
                assert pair[index] == named, key


# --- work lists --------------------------------------------------------------------------------


def test_who_has_to_approve_is_told_and_gets_the_commands(services) -> None:
    app = on_page("data-owner", "approvals")
    assert "Waiting for you: 1" in app.warning[0].value
    shown = app.dataframe[0].value
    assert shown["missing"].tolist() == ["数据所有者 data owner, 隐私官 privacy officer"]
    digest = services.waiting[0]["subject"]
    assert [code.value.split()[2:4] for code in app.code] == [
        ["show", digest], ["sign", digest], ["reject", digest],
    ]  # fmt: skip
    known = typer.main.get_command(approval_app).commands
    for code in app.code:
        options = {word for word in code.value.split() if word.startswith("--")}
        params = known[code.value.split()[2]].params
        assert {one.opts[0] for one in params if one.required and one.opts[0][0] == "-"} <= options
        assert options <= {option for one in params for option in one.opts}
    assert [metric.value for metric in app.metric] == ["2", "85"]


def test_nobody_else_is_asked_to_approve(services) -> None:
    app = on_page("billing", "approvals")
    assert not app.warning
    assert not app.code
    services.waiting.clear()
    assert "Nothing waits" in on_page("billing", "approvals").info[0].value


def test_a_sealed_question_is_named_and_not_shown(services) -> None:
    services.waiting[:] = [asked(question="ab" * 32)]
    app = on_page("regulator", "approvals")
    assert "sealed question" in app.info[0].value


def test_a_text_that_its_digest_does_not_name_is_not_shown(services) -> None:
    services.waiting[0]["text"] = str(services.waiting[0]["text"]).replace("1200", "1201")
    app = on_page("data-owner", "approvals")
    assert "`approval.text`" in app.error[0].value
    assert not app.dataframe
    assert not app.code


def test_an_exception_is_assigned_and_closed_with_a_note(services) -> None:
    app = on_page("operator", "exceptions")
    (row,) = app.dataframe[0].value.to_dict("records")
    assert row["rule"] == "远高于自身平均值 Far above its own mean"
    assert row["unbilled"] == "是 Yes"
    app.text_input(key="owner").input("Li")
    app.text_input(key="due").input("2026-08-05")
    save(app)
    assert "Saved" in app.success[0].value
    one = services.exceptions[0]
    assert (one["state"], one["owner"], one["due"]) == ("assigned", "Li", "2026-08-05")
    app.segmented_control(key="exception_state").set_value("assigned").run()
    app.selectbox(key="act").select("waive")
    save(app)
    assert "Write a note" in app.warning[0].value
    app.text_area(key="note").input("The factory ran at night.")
    save(app)
    assert services.exceptions[0]["state"] == "waived"
    assert services.notes[-1]["text"] == "The factory ran at night."


def test_readings_are_confirmed_and_estimates_stand(services) -> None:
    app = on_page("operator", "exceptions")
    assert "release the hold" in app.selectbox(key="act").options[-1]
    app.selectbox(key="act").select("confirm")
    app.text_input(key="last_7").input("2026-07-03 11:00 +08:00")
    app.text_area(key="note").input("Read on the meter.")
    save(app)
    assert "Another operator has to approve it" in app.success[0].value
    (said,) = services.edited
    assert (said["first"], said["last"]) == (EXCEPTION["first"], "2026-07-03T11:00+08:00")
    app.selectbox(key="act").select("order")
    app.text_area(key="note").input("The meter hung.")
    save(app)
    assert (services.edited[1]["kind"], services.edited[1]["reason"]) == (
        "estimate", "The meter hung.",
    )  # fmt: skip
    assert services.exceptions[0]["state"] == "open"
    app.selectbox(key="act").select("estimate")
    app.text_area(key="note").input("The estimate is near the year before.")
    save(app)
    assert services.exceptions[0]["state"] == "resolved"


def test_the_work_list_is_filtered_and_exported(services) -> None:
    other = EXCEPTION | {"id": 8, "meter_point_id": "MP-0008", "rule": "gap", "owner": "Li"}
    services.exceptions.append(other)
    app = on_page("operator", "exceptions")
    assert len(app.get("download_button")) == 3
    app.selectbox(key="filter_rule").select("gap").run()
    assert app.dataframe[0].value["exception"].tolist() == [8]
    app.text_input(key="filter_point").input("0007").run()
    assert "No exception is as chosen" in app.info[0].value
    app.selectbox(key="filter_rule").select("").run()
    assert app.dataframe[0].value["exception"].tolist() == [7]


def test_an_exception_that_somebody_else_changed_is_not_written_over(services) -> None:
    app = on_page("operator", "exceptions")
    services.exceptions[0]["revision"] = 2
    app.text_input(key="owner").input("Li")
    save(app)
    assert "`exception.changed`" in app.error[0].value
    assert services.exceptions[0]["owner"] == ""
    app.run()
    save(app)
    assert services.exceptions[0]["owner"] == "Li"


def save(app: AppTest) -> None:
    button(app, "Save").click().run()
    assert not app.exception


# --- load curve --------------------------------------------------------------------------------


def test_load_curve_begins_at_the_day_of_the_peak(services) -> None:
    app = on_page("billing", "load_curve")
    assert app.multiselect[0].value == ["2026-07-02"]
    values = [metric.value for metric in app.metric]
    assert values[1:5] == ["7,066.290", "07-02 23:30", "5,936.645", "84.0%"]


def test_load_curve_of_the_whole_month(services) -> None:
    app = on_page("billing", "load_curve")
    assert [metric.value for metric in app.metric][6:] == ["2026-07-02", "7,066.290", "80.2%"]
    days = app.dataframe[0].value
    assert days["split_day"].tolist() == ["2026-07-01", "2026-07-02"]
    assert days["peak_kw"].tolist() == ["6,423.900", "7,066.290"]
    assert days["load_factor"].tolist() == ["84.0%", "84.0%"]
    assert any("No alarm" in text.value for text in app.caption)
    app.multiselect[0].set_value(["2026-07-01"]).run()  # days choose curves, not the month
    assert app.metric[6].value == "2026-07-02"


def test_load_curve_follows_the_choice(services) -> None:
    app = on_page("billing", "load_curve")
    zone = next(box for box in app.selectbox if "Zone" in box.label)
    zone.select("futian").run()
    kind = next(box for box in app.selectbox if "class" in box.label)
    assert "factory" not in kind.options
    kind.select("shop").run()
    assert app.metric[1].value == "274.890"  # 85 × 147 × 11 Wh in half an hour
    app.multiselect[0].set_value([]).run()
    assert len(app.metric) == 4  # the month's
    assert "at least one day" in app.info[0].value


def test_a_choice_without_released_cells_says_so(services) -> None:
    app = on_page("billing", "load_curve")
    next(box for box in app.selectbox if "Zone" in box.label).select("luohu").run()
    next(box for box in app.selectbox if "class" in box.label).select("shop").run()
    assert not app.metric
    assert "No released values" in app.info[0].value


# --- losses ------------------------------------------------------------------------------------


def test_losses_of_zones_that_are_shown_in_full(services) -> None:
    app = on_page("analyst", "losses")
    assert "luohu,0" in app.code[-1].value
    # The button of the file has the reader's words, and not those of the library.
    assert any('content: "选择文件 Choose a file"' in one.proto.body for one in app.get("html"))
    stated(app, "zone\tenergy_kwh\n福田\t8,5\n")
    assert "`losses.energy`" in app.error[0].value
    stated(app, "zone,energy_kwh\nFutian,4000000\n福田,500000")
    (futian, luohu) = app.dataframe[0].value.to_dict("records")
    # 1,285 members of (100 + i) × 21 Wh over 48 half-hours of two days
    assert (futian["supplied_kwh"], futian["released_kwh"]) == ("4,500,000.000", "159,967.080")
    assert futian["loss_ratio"] == "96.4%"
    assert (luohu["released_kwh"], luohu["cells_left_out"]) == (figures.NOTHING, "1")
    assert len(app.get("download_button")) == 3
    of_feeders = "zone,energy_kwh\n福田,5000000\n".encode("gb18030")
    app.file_uploader[0].upload("feeders.csv", of_feeders)
    stated(app, "zone,energy_kwh\nyantian,1\n")
    assert app.dataframe[0].value["supplied_kwh"].tolist()[0] == "5,000,000.000"
    app.file_uploader[0].set_value(None)
    stated(app, "zone,energy_kwh\nyantian,1\n")
    assert "`losses.zone`" in app.error[0].value


def stated(app: AppTest, table: str) -> None:
    app.text_area(key="losses_supply").input(table)
    button(app, "Compute").click().run()
    assert not app.exception


# --- releases and evidence ---------------------------------------------------------------------


def test_evidence_shows_the_certificate_and_its_values(services) -> None:
    app = on_page("billing", "releases")
    app.selectbox[0].select(BILL_ID).run()
    text = sent(app)
    for expected in ("Signature verified ✔", "12" * 32, "cd" * 32, "245,678.91",
                     services.key.public_key.thumbprint, "ab" * 32, "ef" * 32):  # fmt: skip
        assert expected in text


def test_a_certificate_is_verified_offline_with_its_log_proof(services, tmp_path) -> None:
    path = write_certificate(certificate(), key=services.key, folder=tmp_path)
    services.proved[BILL_ID] = path.read_bytes()
    for role in ("billing", "regulator"):
        app = on_page(role, "releases")
        app.selectbox[0].select(BILL_ID).run()
        before = len(services.asked)
        button(app, "Verify now").click().run()
        assert not app.exception
        assert "entry 0 of the log" in app.success[-1].value
        assert {line.split()[1] for line in services.asked[before:]} <= {"/releases"}
        fetches = any(f"evidence export {BILL_ID}" in one.value for one in app.code)
        assert fetches == (role == "regulator")
        named = app.dataframe[-1].value["value"].tolist()
        assert f"gridsecure/authority/{services.key.public_key.thumbprint}" in named


def test_a_certificate_without_a_proof_does_not_verify(services) -> None:
    app = on_page("analyst", "releases")
    button(app, "Verify now").click().run()
    assert "`log.no-proof`" in app.error[0].value


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("verify", commands.verify_certificate("04ab")),
        ("replay", commands.replay_certificate("04ab")),
        (
            "evidence export",
            commands.export_evidence("r", identity="i", platform="p", authority="a"),
        ),
    ],
)
def test_commands_of_the_evidence_are_those_that_there_are(command, text) -> None:
    options = {word for word in text.split() if word.startswith("--")}
    found = typer.main.get_command(whole_app)
    for name in command.split():
        found = found.commands[name]
    known = found.params
    assert {one.opts[0] for one in known if one.required and one.opts[0][0] == "-"} <= options
    assert options <= {option for one in known for option in one.opts}


@pytest.mark.parametrize("blanks", [True, False])
@pytest.mark.parametrize("release_id", [BILL_ID, CURVE_ID])
def test_a_regulator_is_sent_no_value(services, blanks, release_id) -> None:
    services.blanks_for_regulator = blanks
    app = on_page("regulator", "releases")
    app.selectbox[0].select(release_id).run()
    text = sent(app)
    assert "Signature verified ✔" in text
    assert "no values" in app.info[0].value
    values = set(app.dataframe[-1].value["value"])
    assert values == {"不可见 Withheld", "户数不足 Too few customers"}
    assert not [digits for digits in SECRETS if digits in text]


def test_the_same_digits_are_found_where_they_are_released(services) -> None:
    """The test above could not fail if `sent` looked in the wrong place."""
    app = on_page("analyst", "releases")
    app.selectbox[0].select(BILL_ID).run()
    assert "245,678.91" in sent(app)
    assert [digits for digits in SECRETS if digits in sent(app)]


@pytest.mark.parametrize("page", ["revenue", "load_curve", "losses", "releases"])
def test_nothing_of_a_forged_release_is_shown(services, page, monkeypatch) -> None:
    point = generate_private_key().public_key.point.hex()
    monkeypatch.setenv("GRIDSECURE_DASHBOARD_AUTHORITY_KEY", point)
    app = on_page("billing", page)
    assert "release.signature" in app.error[0].value
    assert not app.metric
    assert not app.dataframe
    assert not [digits for digits in SECRETS if digits in sent(app)]


@pytest.mark.parametrize("page", ["revenue", "load_curve", "releases"])
def test_without_a_release_a_page_says_what_to_do_next(services, page) -> None:
    services.certificates.clear()
    app = on_page("analyst", page)
    assert "release" in app.info[0].value
    assert not app.error


@pytest.mark.parametrize("plan", ["bill", "load-curve"])
def test_a_release_of_small_cells_only(services, plan) -> None:
    item = certificate(plan=plan)
    small = [cell for cell in item.cells if cell.value is None]
    services.certificates.clear()
    services.publish(item.model_copy(update={"cells": small}))
    app = on_page("analyst", "revenue" if plan == "bill" else "load_curve")
    assert "every group is too small" in app.info[0].value
    assert not app.metric


# --- bill runs ---------------------------------------------------------------------------------


def test_a_month_from_run_to_release(services) -> None:
    services.certificates.clear()
    services.runs.append(
        RUN
        | {"run_id": "0", "start": "2026-06-01T00:00:00+08:00", "end": "2026-07-01T00:00:00+08:00"}
    )
    later = {"start": "2026-09-01T00:00:00+08:00", "end": "2026-10-01T00:00:00+08:00"}
    services.runs.append(RUN | later | {"run_id": "1", "plan": "load-curve"})
    app = on_page("billing", "bill_runs")
    assert app.selectbox(key="month").value == "2026-06"  # nothing is billed later
    services.runs.pop()
    assert "`gridsecure run`" in app.info[0].value
    assert app.button(key="start_bill").disabled
    app.selectbox(key="month").set_value("2026-07").run()
    assert "4,090" in [metric.value for metric in app.metric]
    assert app.button(key="start_round").disabled
    app.button(key="start_bill").click().run()
    assert app.button(key="start_bill").disabled
    assert not app.button(key="start_load-curve").disabled
    assert "1 / 2" in sent(app)
    services.runs[1] |= {"state": "done", "done": 2, "request_id": "request-1"}
    app.run()
    app.button(key="start_round").click().run()
    assert BILL_ID in sent(app)
    assert not app.exception


def test_a_shadow_run_is_no_run_of_the_month_but_is_answered_by_a_round(services) -> None:
    services.certificates.clear()
    services.runs.append(RUN | {"run_id": "a-shadow", "kind": "shadow", "state": "running"})
    app = on_page("billing", "bill_runs")
    app.selectbox(key="month").set_value("2026-07").run()
    assert "a-shadow" not in sent(app)
    assert not app.button(key="start_bill").disabled
    assert app.button(key="start_round").disabled
    services.runs[-1] |= {"state": "done", "request_id": "request-1"}
    app.run()
    assert not app.button(key="start_round").disabled
    assert "a-shadow" not in sent(app)


def test_a_month_in_work_and_a_month_that_failed(services) -> None:
    services.months["2026-07"] = {"state": "running", "stage": "encrypt", "done": 1, "of": 4}
    failed = {"state": "failed", "done": 0, "reason": "plan.noise", "message": "Too deep."}
    services.runs.append(RUN | failed)
    app = on_page("operator", "bill_runs")
    text = sent(app)
    assert "加密 Encrypt 1 / 4" in text
    assert "Too deep." in text
    assert app.button(key="start_bill").disabled
    services.months["2026-07"] = {"state": "failed", "reason": "readings.invalid",
                                  "message": "Unknown columns."}  # fmt: skip
    app.run()
    assert "readings.invalid" in app.error[0].value


@pytest.mark.parametrize("state", ["waiting", "interrupted", "failed"])
def test_an_operator_starts_a_month_and_billing_cannot(services, state) -> None:
    services.months["2026-10"] = {"state": state, "reason": "storage.failed", "message": "Full."}
    october = {"start": "2026-10-01T00:00:00+08:00", "end": "2026-11-01T00:00:00+08:00"}
    services.runs.append(RUN | october | {"state": "failed"})
    assert on_page("billing", "bill_runs").button(key="start_month").disabled
    app = on_page("operator", "bill_runs")
    app.button(key="start_month").click().run()
    assert "POST /months/2026-10/process" in services.asked
    assert "进行中 Running" in sent(app)


def test_runs_are_ordered_for_purposes_that_their_plan_is_released_for(services) -> None:
    services.certificates.clear()
    app = on_page("billing", "bill_runs")
    app.selectbox(key="month").set_value("2026-07").run()
    for plan in ("bill", "load-curve"):
        app.button(key=f"start_{plan}").click().run()
    assert {run["plan"] for run in services.runs} == set(bill_runs._PURPOSES)
    for run in services.runs:
        assert run["purpose"] in STAFF_PURPOSES[run["plan"]]


def test_an_operator_sees_no_releases(services) -> None:
    app = on_page("operator", "bill_runs")
    assert "GET /releases" not in services.asked
    assert not app.error


# --- openings ----------------------------------------------------------------------------------


def ordered(role: str, subject: str = SUBJECT, reference: str = "2026/17") -> AppTest:
    app = on_page(role, "openings")
    app.text_input(key="opening_subject").input(subject)
    app.text_input(key="opening_reference").input(reference)
    app.button(key="opening_submit").click().run()
    assert not app.exception
    return app


def with_share(app: AppTest, share: str) -> AppTest:
    app.text_area[0].input(share)
    button(app, "Submit the share").click().run()
    assert not app.exception
    return app


def person_in(app: AppTest) -> list[str]:
    return [word for word in PERSON if word in sent(app)]


def test_an_office_orders_an_opening(services) -> None:
    app = ordered("custodian")
    assert "was issued and entered in the log" in app.success[0].value
    (row,) = app.dataframe[0].value.to_dict("records")
    assert (row["subject"], row["reference"]) == ("5a" * 6 + "…", "2026/17")
    assert row["missing_share"] == "供电企业 Utility, 监管机构 Regulator"
    assert "Needs both shares" in row["state"]
    facts = set(app.dataframe[1].value["value"])
    name = services.offices.orders[0]["hash"]
    assert {name, SUBJECT, "2026/17", "10"} <= facts
    address = services.address
    assert app.code[0].value == (
        f"gridsecure identity share {name} --url {address} --key KEY_FILE "
        "--opener-key OPENER_KEY_FILE --witness HEADS_FILE --print"
    )
    assert "never paste or upload a key here" in app.info[0].value


@pytest.mark.parametrize(
    ("subject", "reference", "reason"),
    [
        ("5a5a", "2026/17", "warrant.subject"),
        (SUBJECT, " ", "warrant.reference"),
        (UNKNOWN, "2026/17", "not-found.registration"),
    ],
)
def test_an_order_that_cannot_be_says_why(services, subject, reference, reason) -> None:
    app = ordered("regulator", subject, reference)
    assert f"`{reason}`" in app.error[0].value
    assert services.offices.orders == []
    assert "No warrants yet" in app.info[-1].value


def test_both_shares_open_a_pseudonym_and_its_result_ends(services) -> None:
    first = ordered("custodian")
    name = services.offices.orders[0]["hash"]
    with_share(first, f" {share_of(name, 'utility').upper()}\n")
    assert "was verified and accepted" in first.success[0].value
    assert "Still missing: 监管机构 Regulator" in first.info[-1].value
    assert not first.text_area

    second = on_page("regulator", "openings")
    assert "Needs one share" in second.dataframe[0].value["state"][0]
    with_share(second, share_of(name, "regulator"))
    assert person_in(second) == []  # nobody's screen shows it unasked
    second.button(key="show_result").click().run()
    assert person_in(second) == list(PERSON)
    assert "The result is kept in memory only" in second.warning[0].value
    assert "Lin Mei" not in repr(second.session_state)

    first.run()
    assert "已核实 Disclosed" in first.dataframe[0].value["state"][0]
    first.button(key="show_result").click().run()
    assert person_in(first) == list(PERSON)
    first.button(key="hide_result").click().run()
    assert person_in(first) == []

    services.offices.forget()
    second.run()
    assert person_in(second) == []
    assert "Result deleted" in second.dataframe[0].value["state"][0]


def test_a_result_leaves_with_the_page(services) -> None:
    app = ordered("regulator")
    name = services.offices.orders[0]["hash"]
    services.offices.shares[name] = {"utility", "regulator"}
    app.run()
    app.button(key="show_result").click().run()
    assert person_in(app) == list(PERSON)
    app.switch_page("views/releases.py").run()
    assert person_in(app) == []
    assert "held" not in app.session_state
    app.switch_page("views/openings.py").run()
    assert person_in(app) == []
    assert app.button(key="show_result")


def test_a_result_that_ends_while_it_is_looked_at_leaves_the_screen(services) -> None:
    app = ordered("regulator")
    services.offices.shares[services.offices.orders[0]["hash"]] = {"utility", "regulator"}
    app.run()
    app.button(key="show_result").click().run()
    services.offices.forgot_result = True
    app.run()
    assert person_in(app) == []
    assert "The result was deleted" in "".join(info.value for info in app.info)
    app.run()
    assert "The result was deleted" not in "".join(info.value for info in app.info)


def test_a_result_that_is_not_in_the_books(services) -> None:
    services.offices.in_books = False
    app = ordered("custodian")
    services.offices.shares[services.offices.orders[0]["hash"]] = {"utility", "regulator"}
    app.run()
    app.button(key="show_result").click().run()
    assert person_in(app) == [PERSON[0]]
    assert "no entry for this identity" in app.info[-1].value


@pytest.mark.parametrize(
    ("share", "reason"),
    [
        ("00ff", "share.shape"),
        ("ab" * 97, "share.refused"),
        (None, "share.refused"),
    ],
    ids=["malformed", "wrong", "the other office's"],
)
def test_a_bad_share_says_why_and_ends_no_session(services, share, reason) -> None:
    app = ordered("custodian")
    name = services.offices.orders[0]["hash"]
    share = share or share_of(name, "regulator")
    with_share(app, share)
    assert f"`{reason}`" in app.error[0].value
    assert share not in sent(app)
    assert app.text_area  # it can be pasted again
    assert services.offices.shares.get(name, set()) == set()
    with_share(app, "  ")
    assert "Paste a share" in app.warning[0].value


def test_a_share_with_an_ended_token_goes_back_to_sign_in(services) -> None:
    app = ordered("custodian")
    services.tokens_expired = True
    with_share(app, share_of(services.offices.orders[0]["hash"], "utility"))
    assert offered(app) == set()


def test_a_product_is_proven_and_previewed_by_form_and_by_text(services) -> None:
    app = on_page("member", "workshop")
    app.text_input(f"product_{list_standard()[0]}_title").input(market_services.REFUSED).run()
    button(app, "Prove it").click().run()
    assert "`query.shape`" in app.error[0].value
    app.segmented_control("workshop_by").set_value("text").run()
    button(app, "Prove it").click().run()
    assert not app.exception
    said = sent(app)
    assert "7" * 64 in said
    assert "gridsecure market sign DESIGN.json" in said
    button(app, "Preview on synthetic data").click().run()
    assert "12.5" in sent(app)
    assert "Synthetic" in app.info[0].value
    area = app.text_area[0]
    area.input(area.value + f"# {market_services.REFUSED}\n")
    button(app, "Prove it").click().run()
    assert "`query.shape`" in app.error[0].value
    assert "DESIGN.json" not in sent(app)


def test_a_regulator_has_a_month_of_all_organisations_in_one_report(services) -> None:
    app = on_page("regulator", "supervision")
    told = (one.value for one in app.dataframe)
    metered = next(table for table in told if "75,100,000 B" in set(table["seen_at"]))
    assert list(metered) == ["seen_name", "seen_at", "seen_who"]
    said = sent(app)
    for kind, papers in market_services.papers().items():
        for signed, *_ in papers:
            assert figures.short(signed.digest) in said, kind
    assert len(app.get("download_button")) == 3
    assert [digits for digits in SECRETS if digits in said] == []


def test_what_a_service_refuses_keeps_nothing_of_the_others_away(services, monkeypatch) -> None:
    monkeypatch.setenv("GRIDSECURE_DASHBOARD_MARKET_URL", "")
    app = on_page("regulator", "supervision")
    assert "`settings.market`" in app.error[0].value
    assert "key-1" in sent(app)


@pytest.mark.parametrize("page", ["openings", "revocations", "identity_log"])
def test_nobody_is_both_offices(services, page) -> None:
    app = signed_in_by_code(services.offices.code("custodian", "regulator"))
    app.switch_page(f"views/{page}.py").run()
    assert "session.offices" in app.error[0].value
    assert not app.text_input


# --- revocations -------------------------------------------------------------------------------


def asked_to_revoke(subject: str = SUBJECT) -> AppTest:
    app = on_page("regulator", "revocations")
    app.text_input(key="revocation_subject").input(subject)
    app.text_input(key="revocation_reference").input("2026/18")
    app.button(key="revocation_submit").click().run()
    assert not app.exception
    return app


def test_a_pseudonym_is_revoked_after_a_confirmation_only(services) -> None:
    app = asked_to_revoke()
    assert SUBJECT in app.warning[0].value
    assert services.offices.revoked == set()
    app.button(key="revoke").click().run()
    assert services.offices.revoked == {SUBJECT}
    assert "Pseudonyms revoked: 2." in app.success[0].value
    assert app.text_input(key="revocation_subject").value == ""
    again = asked_to_revoke()
    again.button(key="revoke").click().run()
    assert "nothing changed" in again.success[0].value


def test_a_revocation_that_is_called_off_or_left_does_not_happen(services) -> None:
    app = asked_to_revoke()
    app.button(key="cancel").click().run()
    assert not app.warning
    assert app.text_input(key="revocation_subject")
    app = asked_to_revoke()
    app.switch_page("views/releases.py").run()
    app.switch_page("views/revocations.py").run()
    assert not app.warning
    assert "POST /revocations" not in services.asked


@pytest.mark.parametrize(
    ("subject", "reason"), [("zz", "warrant.subject"), (UNKNOWN, "not-found.registration")]
)
def test_a_revocation_that_cannot_be_says_why(services, subject, reason) -> None:
    app = asked_to_revoke(subject)
    if subject == UNKNOWN:
        app.button(key="revoke").click().run()
    assert f"`{reason}`" in app.error[0].value


def test_searches_show_whose_turn_it_is(services) -> None:
    services.offices.searches = [
        search(1),
        search(
            2,
            state=None,
            waiting_for=["regulator"],
            done=8192,
            of=8192,
            found=["5a" * 32],
            new="field",
        ),
        search(3, state="", waiting_for=[], done=4096, found=0),
    ]
    app = on_page("regulator", "revocations")
    rows = app.dataframe[0].value.to_dict("records")
    assert [row["turn_of"] for row in rows] == [
        "供电企业 Utility",
        "监管机构 Regulator",
        "无 Nobody",
    ]
    assert [row["state"] for row in rows] == ["进行中 Running"] * 2 + ["完成 Done"]
    assert [row["progress"] for row in rows] == ["512 / 4,096", "8,192 / 8,192", "4,096 / 4,096"]
    assert [row["found"] for row in rows] == ["1", "1", "0"]
    assert "the other office's turn (供电企业 Utility)" in app.info[-1].value
    names = [str(item["hash"]) for item in services.offices.searches]
    assert [row["search"] for row in rows] == [f"{name[:12]}…" for name in names]
    app.selectbox(key="search").select(names[1]).run()
    assert f"identity revoke-person --continue {names[1]} " in app.code[-1].value
    app.selectbox(key="search").select(names[2]).run()
    assert "has no steps left" in app.info[-1].value


@pytest.mark.parametrize(
    ("searches", "said"),
    [([], "No searches yet"), (None, "does not list searches")],
    ids=["none", "no route"],
)
def test_without_searches_the_page_says_what_to_do(services, searches, said) -> None:
    services.offices.searches = searches
    app = on_page("custodian", "revocations")
    assert said in app.info[-1].value
    assert not app.error


# --- the log of identities ---------------------------------------------------------------------


def test_what_was_done_to_pseudonyms_is_listed_without_them(services) -> None:
    app = on_page("regulator", "identity_log")
    assert [one.value for one in app.metric] == ["1", "1", "1", "1"]
    rows = app.dataframe[0].value
    assert rows["entry_index"].tolist() == ["4", "3", "2", "1"]
    assert rows["logged_action"].tolist()[0] == "假名已撤销 Pseudonym revoked"
    assert SUBJECT not in sent(app)
    app.selectbox(key="logged").select("opened").run()
    assert app.dataframe[0].value["entry_index"].tolist() == ["3"]
    assert len(app.get("download_button")) == 3
    services.offices.logged = [("identity", "registered")]
    app.run()
    assert "no disclosure, search or revocation" in app.info[-1].value


# --- set-up ------------------------------------------------------------------------------------


def test_missing_settings_are_named(services, monkeypatch) -> None:
    monkeypatch.delenv("GRIDSECURE_DASHBOARD_AUTHORITY_KEY")
    monkeypatch.delenv("GRIDSECURE_DASHBOARD_PLATFORM_URL")
    app = opened()
    assert "settings.missing" in app.error[0].value
    assert "AUTHORITY" in app.error[0].value
    assert "PLATFORM" in app.error[0].value


def test_a_service_that_is_down_is_named(services, monkeypatch) -> None:
    monkeypatch.setenv("GRIDSECURE_DASHBOARD_IDENTITY_URL", "http://127.0.0.1:9")
    app = signed_in_by_code(services.offices.code("billing"))
    for error in app.error:
        assert "service.unreachable" in error.value
        assert "identity" in error.value
    assert len(app.error) == 2
    assert "sign_in" not in app.session_state


def test_no_phrase_is_written_twice() -> None:
    parts = (
        OFFICE_PHRASES, CODE_PHRASES, GRID_PHRASES, PAGE_PHRASES, TARIFF_PHRASES, WORK_PHRASES,
        MARKET_PHRASES, PROTECTION_PHRASES,
    )  # fmt: skip
    assert sum(map(len, parts)) == len({key for part in parts for key in part})
    names = ("phrases", "office_phrases", "code_phrases", "grid_phrases", "page_phrases")
    for module in (
        *names,
        "tariff_phrases",
        "work_phrases",
        "market_phrases",
        "protection_phrases",
    ):
        source = (ENTRY.parent / f"{module}.py").read_text(encoding="utf-8")
        (table,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Dict))
        keys = [key.value for key in table.keys if isinstance(key, ast.Constant)]
        assert len(keys) == len(set(keys))
        if module == "phrases":
            assert not set(keys) & {key for part in parts for key in part}


def test_every_phrase_is_bilingual_and_takes_the_same_values() -> None:
    for key, (chinese, english) in PHRASES.items():
        assert any("一" <= sign <= "鿿" for sign in chinese), key
        assert english.isascii() or "“" in english or "✔" in english or "…" in english, key
        names = [
            {part.split("}")[0] for part in text.split("{")[1:]} for text in (chinese, english)
        ]
        assert names[0] == names[1], key


@pytest.mark.parametrize(
    ("number", "places", "text"),
    [
        ("1234567.885", 2, "1,234,567.89"),
        ("0.5", 0, "1"),
        ("-0.005", 2, "-0.01"),
        ("2", 4, "2.0000"),
    ],
)
def test_decimals_are_rounded_half_up_and_separated(number, places, text) -> None:
    assert figures.decimal(figures.Decimal(number), places=places) == text


def test_figures_that_are_missing_and_sizes() -> None:
    assert figures.decimal(None, places=2) == figures.count(None) == figures.percent(None) == "–"
    assert [figures.bytes_text(n) for n in (12, 2048, 75_100_000)] == [
        "12 B",
        "2.0 KiB",
        "71.6 MiB",
    ]
    assert figures.moment("not a time", zone=SHENZHEN) == "not a time"
    assert figures.moment("2026-08-01T17:02:03+00:00", zone=SHENZHEN) == "2026-08-02 01:02 +08:00"
