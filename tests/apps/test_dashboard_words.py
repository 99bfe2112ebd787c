"""Every text of every page comes from the phrase table or is data, in each language.

Pages are walked as people of every role walk them, over services that answer as the real ones do.
Magic is switched on here, so that a string that stands alone in a script is a text like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import httpx
import pytest
import streamlit as st
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

from gridsecure.analyst.tariff_catalogue import list_editions
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.gateway.admission import REASONS
from gridsecure.gateway.months import STAGES
from gridsecure.policy.levels import list_levels
from gridsecure.products.designs import read_design
from gridsecure.released_values import SignedCertificate
from gridsecure_dashboard import figures
from gridsecure_dashboard.code_phrases import CODE_PHRASES
from gridsecure_dashboard.phrases import PHRASES
from gridsecure_dashboard.product_form import words_of
from gridsecure_dashboard.wording import CHINESE, ENGLISH, LANGUAGES
from tests.analyst.office_services import SUBJECT, search
from tests.analyst.zone_services import MONTH, ZoneServices, certificate
from tests.apps.test_dashboard import (
    PAGES,
    browser,
    button,
    on_page,
    opened,
    services,
)

__all__ = ["browser", "services"]

WALKS = [(role, page) for role, pages in PAGES.items() for page in sorted(pages)]
# What a browser never shows: names of things, and looks.
UNSEEN = frozenset(
    [
        *("id", "key", "form_id", "icon", "url", "page_script_hash", "element_hash", "data_hash"),
        *("spec_hash", "name", "path", "format", "mime_type", "user_key", "language", "type"),
        *(
            "page",
            "deferred_file_id",
            "color",
            "theme",
            "selection_mode",
            "url_path",
            "tag",
            "autocomplete",
        ),
    ]
)
# Written by people as they are, in every language: units, our name, and two spellings of times.
KEPT = (
    *("GridSecure", "kWh", "MWh", "GWh", "kW", "万", "亿", "k", "M", "B", "MiB", "KiB", "GiB"),
    *("SM3", "SM2", "JSON", "CSV", "XLSX", "PDF", "gridsecure"),
)

LONG = 12


def texts(message: Message) -> Iterator[str]:
    """Every text of a message that a browser may show."""
    for field, value in message.ListFields():
        if field.name in UNSEEN:
            continue
        repeated = field.is_repeated
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            is_map = field.message_type.GetOptions().map_entry
            parts = value.values() if is_map else value if repeated else [value]
            for part in parts:
                if isinstance(part, Message):
                    yield from texts(part)
                elif isinstance(part, str):
                    yield part
        elif field.name == "spec":
            yield from of_chart(value)
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield from value if repeated else [value]


def of_table(element: Any) -> Iterator[str]:
    """Titles and cells of a table."""
    for column in json.loads(element.proto.columns or "{}").values():
        yield str(column.get("label") or "")
        yield str(column.get("help") or "")
    sent = json.loads(element.proto.columns or "{}")
    for name in element.value.columns:
        assert name in sent, f"a column without a title: {name}"
        yield from map(str, element.value[name])


def of_chart(spec: str) -> Iterator[str]:
    """Titles of a chart; its values are in the table beside it."""

    def walk(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            for key, value in part.items():
                if key == "title" and isinstance(value, str):
                    yield value
                elif key not in {"datasets", "config", "$schema"}:
                    yield from walk(value)
        elif isinstance(part, list):
            for item in part:
                yield from walk(item)

    yield from walk(json.loads(spec))


def shown(app: AppTest) -> list[str]:
    """Every text that the page sent to the browser."""
    assert not app.exception
    found: list[str] = []
    for element in walked(app._tree):
        proto = getattr(element, "proto", None)
        if element.type == "code":
            continue  # a command, checked where commands are
        if element.type in {"arrow_data_frame", "dataframe"}:
            found += of_table(element)
        elif element.type == "html":
            continue
        elif proto is not None:
            found += texts(proto)
    return [text for text in found if text.strip()]


def walked(app: AppTest) -> Iterator[Any]:
    """Every element of the page, with the menu's and the side bar's."""
    yield from getattr(app, "_tree", app)


@cache
def phrases(language: str, *, long: bool) -> re.Pattern[str]:
    """The fixed parts of the phrases in a language, longest first, of which no word is cut."""
    at = {CHINESE: (0,), ENGLISH: (1,)}.get(language, (0, 1))
    whole = {pair[index] for pair in PHRASES.values() for index in at}
    parts = {part for phrase in whole for part in re.split(r"\{\w+\}", phrase)}
    parts |= set() if long else {*LANGUAGES, *KEPT}
    wanted = [part for part in parts if part.strip() and (len(part) >= LONG) is long]
    return alternatives(wanted)


def alternatives(texts: Iterable[str]) -> re.Pattern[str]:
    """Any of some texts, the longest that fits; a Latin word is taken whole or not at all."""
    return re.compile(
        "|".join(
            ("(?<![A-Za-z])" if text[0].isalpha() else "")
            + re.escape(text)
            + ("(?![A-Za-z])" if text[-1].isalpha() else "")
            for text in sorted(texts, key=len, reverse=True)
        )
    )


def unknown(text: str, *, language: str, data: re.Pattern[str]) -> str:
    """What of a text is neither of the phrase table nor data nor a reason code."""
    text = text.replace("\\", "")
    # Titles of tariffs, which may hold any words; long phrases, which may hold a role's name; then
    # data, which may hold short words.
    for known in (
        tariff_titles(),
        phrases(language, long=True),
        data,
        re.compile(r"`[a-z-]+(\.[a-z-]+)+`"),
        phrases(language, long=False),
    ):
        text = known.sub(" ", text)
    return " ".join(re.findall(r"[^\W\d_]+", text))


# Fields that people or other systems fill with their own words.
FREE = frozenset(
    [
        "actor",
        "user",
        "name",
        "requested_by",
        "message",
        "address",
        "reference",
        "identity",
        "policy_name",
        *("title", "title_zh", "owner", "leaks", "leaks_zh", "dataset", "organisation"),
        *(
            "counterpart",
            "provider",
            "consumer",
            "person",
            "product",
            "price_yuan",
            "file",
            "party",
        ),
        *("field", "parameters"),
    ]
)


def leaves(answer: Any, key: str = "") -> Iterator[str]:
    """Texts of an answer that are data: with a digit, or of a field of free words."""
    if isinstance(answer, dict):
        for name, part in answer.items():
            yield from leaves(part, name)
            if re.search(r"\d", name):
                yield name
    elif isinstance(answer, list):
        for part in answer:
            yield from leaves(part, key)
    elif isinstance(answer, str):
        if answer.startswith("{"):
            yield from leaves(json.loads(answer))
        elif key == "text" and "[[rules]]" in answer:  # a policy: its titles are its writer's
            yield from re.findall(r'title = "([^"]+)"', answer)
        elif key == "file" and "[[parts]]" in answer:  # a product: its words are its writer's
            yield answer
            yield from re.findall(r'"([^"]+)"', answer)
            for part in read_design(answer).parts:  # in the form's field for all other conditions
                yield json.dumps({"when": part.question.get("when")}, ensure_ascii=False)
        elif answer and (key in FREE or is_name(answer)):
            yield answer
            yield f"{answer[:12]}…"


def is_name(text: str) -> bool:
    """A digest, or something with a number in it that is no time."""
    has_digit = re.search(r"\d", text) and not re.fullmatch(r"[\d.:T+-]+", text)
    return bool(has_digit or re.fullmatch("[0-9a-f]{64}", text))


@cache
def tariff_texts() -> frozenset[str]:
    """What the catalogue's files say in their own words: public data, of no service."""
    found: set[str] = set()
    for name, one in list_editions().items():
        found |= {name, one.tariff_id, one.version, one.name_en, one.name_zh}
        found |= {source.title for source in one.sources}
        found |= {source.document for source in one.sources if source.document}
    return frozenset(found)


@cache
def tariff_titles() -> re.Pattern[str]:
    """The longer ones of them."""
    return alternatives([text for text in tariff_texts() if len(text) >= LONG])


@pytest.fixture
def told(services: ZoneServices) -> set[str]:
    """Data that the services answered since the test began."""
    said = {
        *tariff_texts(),
        services.address,
        *PAGES,
        *list_levels(),
        words_of("mean", "per"),
        "billing by key",
        services.key.public_key.thumbprint,
    }
    handle = services.handle

    def remembered(request: httpx.Request) -> httpx.Response:
        response = handle(request)
        said.update(leaves(json.loads(response.content)))
        if request.url.path.startswith("/releases/"):
            said.add(SignedCertificate.parse(response.content).digest)
        return response

    services.handle = remembered
    return said


@pytest.fixture(autouse=True)
def magic(scanned_once: None) -> None:
    """A string that stands alone is printed in a test, as where nobody switched magic off."""
    assert st.get_option("runner.magicEnabled")


def check(app: AppTest, told: set[str]) -> int:
    """Every language of a page as it is now; how many texts it shows."""
    count = 0
    for language in LANGUAGES:
        app.selectbox(key="language").select(language).run()
        data = alternatives(told)
        for text in shown(app):
            rest = unknown(text, language=language, data=data)
            assert not rest, f"{language}: {rest!r} in {text!r}"
            count += 1
    return count


def everything(services: ZoneServices) -> None:
    """Answers with every reason, stage, state and withheld figure that pages have words for."""
    report = MONTH["report"] | {
        "excluded": dict.fromkeys(REASONS, 2), "seconds": dict.fromkeys(STAGES, 1.5),
        "problems": dict.fromkeys((k[5:] for k in CODE_PHRASES if k.startswith("rule_")), 3),
    }  # fmt: skip
    services.months["2026-07"] = MONTH | {"report": report}
    for plan in ("bill", "load-curve"):
        item = certificate(plan=plan).model_copy(update={"purpose": "billing"})
        services.publish(item)
    services.open_uploads = ("b7",)
    services.runs = [
        {"run_id": f"run-{number}", "plan": plan, "state": state, "done": 1, "of": 2,
         "start": "2026-07-01T00:00:00+08:00", "end": "2026-08-01T00:00:00+08:00",
         "request_id": request, "reason": "plan.noise", "message": "Too deep."}
        for number, (plan, state, request) in enumerate(
            [("bill", "done", "request-1"), ("load-curve", "failed", None),
             ("rebill", "done", None)]
        )
    ]  # fmt: skip
    services.offices.searches = [search(1), search(2, waiting_for=["regulator"])]
    services.offices.orders = [
        {"hash": f"{number:02}" * 32, "index": number, "subject": SUBJECT, "reference": "2026/17"}
        for number in range(3)
    ]


@pytest.mark.parametrize(("role", "page"), [*WALKS, ("unheard-of", "home")])
def test_every_text_of_a_page_is_a_phrase_or_data(services, told, role, page) -> None:
    everything(services)
    assert check(on_page(role, page), told) > 10


@pytest.mark.parametrize("role", ["billing", "operator"])
@pytest.mark.parametrize("state", ["waiting", "running", "interrupted", "failed", "none"])
def test_every_state_of_a_month_has_words(services, told, role, state) -> None:
    everything(services)
    services.months.clear()
    if state != "none":
        services.months["2026-07"] = {
            "state": state, "stage": "encrypt", "done": 1, "of": 4, "reason": "storage.failed",
            "message": "Full.",
        }  # fmt: skip
    services.runs[0]["state"] = "running"
    services.closed_uploads, services.open_uploads = (), ("a1", "b7")
    app = on_page(role, "bill_runs")
    check(app, told)
    services.runs[0]["state"] = "done"
    app.run()
    app.button(key="start_round").click().run()
    check(app, told)


def test_nothing_released_nothing_uploaded_and_nothing_ordered_has_words(services, told) -> None:
    services.certificates.clear()
    services.months.clear()
    services.closed_uploads = ()
    for page in sorted(PAGES["billing"]):
        check(on_page("billing", page), told)
    for page in sorted(PAGES["custodian"]):
        check(on_page("custodian", page), told)


def test_what_is_refused_is_said_in_the_readers_language(services, told) -> None:
    app = opened()
    check(app, told)
    app.button[0].click().run()
    check(app, told)
    app.text_area[0].input("no code").run()
    app.button[0].click().run()
    check(app, told)
    app.text_input[0].input("billing")
    app.text_input[1].input("not the password")
    button(app, "password").click().run()
    check(app, told)
    check(on_page("custodian", "revenue"), told)


def test_an_opening_from_order_to_result_has_words(services, told) -> None:
    app = on_page("custodian", "openings")
    app.button(key="opening_submit").click().run()
    check(app, told)
    app.text_input(key="opening_subject").input(SUBJECT)
    app.text_input(key="opening_reference").input("2026/17")
    app.button(key="opening_submit").click().run()
    check(app, told)
    services.offices.shares[services.offices.orders[0]["hash"]] = {"utility"}
    app.run()
    check(app, told)
    services.offices.shares[services.offices.orders[0]["hash"]] = {"utility", "regulator"}
    app.run()
    check(app, told)
    app.button(key="show_result").click().run()
    check(app, told)


def test_a_forged_release_is_refused_in_words(services, told, monkeypatch) -> None:
    point = generate_private_key().public_key.point.hex()
    monkeypatch.setenv("GRIDSECURE_DASHBOARD_AUTHORITY_KEY", point)
    check(on_page("billing", "revenue"), told)


CLEAN = '''
"""A page."""

import streamlit as st

PRICE = 1
st.selectbox("GridSecure", ["中文 · English", "中文", "English"], key="language")
'''


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('"""Price of a thing, which nobody asked for."""', "Price of a thing"),
        ('st.caption("Two withheld colours")', "Two"),
        ('st.metric("Bills today", 3)', "today"),
        ('st.button("刷新", help="刷新全部内容吧")', "内容吧"),
    ],
)
def test_a_stray_text_is_found(told, line, found) -> None:
    """The tests above could not fail if they looked in the wrong place."""
    assert check(AppTest.from_string(CLEAN, default_timeout=30).run(), told) > 3
    with pytest.raises(AssertionError, match=found):
        check(AppTest.from_string(CLEAN + line, default_timeout=30).run(), told)


@pytest.mark.parametrize(
    ("start", "end", "written"),
    [
        ("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00", "2026-07"),
        ("2026-07-31T00:00:00+08:00", "2026-08-01T00:00:00+08:00", "2026-07-31"),
        ("soon", "later", "soon"),
    ],
)
def test_a_period_is_written_as_its_month_or_its_day(start, end, written):
    assert figures.period(start, end) == written
