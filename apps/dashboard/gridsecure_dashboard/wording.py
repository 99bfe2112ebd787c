"""Words on the screen: Chinese, English, or both side by side, as the reader chose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from decimal import Decimal
from typing import Final

import streamlit as st

from gridsecure.analyst.merged_cells import pick_named
from gridsecure.errors import GridSecureError
from gridsecure_dashboard import figures
from gridsecure_dashboard.phrases import PHRASES

BOTH: Final = "中文 · English"
CHINESE: Final = "中文"
ENGLISH: Final = "English"
LANGUAGES: Final = (BOTH, CHINESE, ENGLISH)
_COMMAS: Final = ("、", ", ")
_HELD: Final = ContextVar[str]("language", default="")
# Errors whose own sentence names what the phrase cannot: which service, which field.
_NAMING: Final = frozenset({"service.unreachable", "session.service", "message.answer"})


def choose_language() -> None:
    """Offer the languages; the choice lasts as long as the browser session."""
    st.selectbox(say("language"), LANGUAGES, key="language")


def say(key: str, **values: object) -> str:
    """A label, on one line."""
    return _joined(key, " ", values)


def tell(key: str, **values: object) -> str:
    """A sentence for Markdown, each language on its own line."""
    return _joined(key, "  \n", values)


def say_or(prefix: str, word: str) -> str:
    """A label for a word of the services, such as a state; an unknown word is shown as it is."""
    key = f"{prefix}_{word}"
    return say(key) if key in PHRASES else word


def large(number: Decimal | int | None, *, places: int = 0) -> str:
    """A number for a card, in the units of the reader's language; in both where both are shown."""
    if number is None:
        return figures.NOTHING
    chinese, english = (
        figures.scaled(number, places=places, is_chinese=is_chinese) for is_chinese in (True, False)
    )
    if _language() == BOTH and chinese != english:
        return f"{chinese} · {english}"
    return english if _language() == ENGLISH else chinese


def tell_audience(page: str, roles: Iterable[str]) -> str:
    """What is on a page and which roles see it, each language with its own words for them."""
    named = [
        between.join(PHRASES[f"role_{role}"][index] for role in sorted(roles))
        for index, between in enumerate(_COMMAS)
    ]
    chinese, english = (
        f"{what}{between}{who.format(roles=names)}"
        for what, between, who, names in zip(
            PHRASES[f"shows_{page}"], ("", " "), PHRASES["who_sees"], named, strict=True
        )
    )
    return _chosen(chinese, english, "  \n")


def say_of_month(key: str, name: str) -> str:
    """A phrase with a month, as each language writes it.

    Args:
        name: As 2026-07.
    """
    chinese, english = (
        text.format(month=words)
        for text, words in zip(PHRASES[key], figures.month_words(name), strict=True)
    )
    return _chosen(chinese, english, " ")


def chosen_language() -> str:
    """Which of the languages the reader chose."""
    return _language()


def language_tag() -> str:
    """The language of the page for browsers and screen readers."""
    return "en" if _language() == ENGLISH else "zh-CN"


def in_language(chinese: str, english: str) -> str:
    """What a service tells in two languages, in the reader's; both, where both are shown."""
    return chinese if chinese == english else _chosen(chinese, english, " · ")


def zone_name(zone: str) -> str:
    """A zone in the reader's language where it has a word, else as the roster spells it."""
    return say_or("zone", zone)


def class_name(customer_class: str) -> str:
    """A customer class likewise."""
    return say_or("class", customer_class)


def zone_names(parts: Iterable[tuple[str, str]]) -> str:
    """The zones of a cell; of many, the first ones and how many more."""
    return joined_names((zone for zone, _ in parts), zone_name)


def class_names(parts: Iterable[tuple[str, str]]) -> str:
    """The customer classes of a cell likewise."""
    return joined_names((name for _, name in parts), class_name)


def joined_names(words: Iterable[str], name_of: Callable[[str], str]) -> str:
    """Words as the reader calls them; of many, the first ones and how many more."""
    shown, more = pick_named(words)
    rest = [say("and_more", count=more)] if more else []
    return " + ".join([*map(name_of, shown), *rest])


def listed(words: Iterable[str]) -> str:
    """Words that the reader's language has already, in a row."""
    return _COMMAS[0 if _language() == CHINESE else 1].join(words)


def colon() -> str:
    """What stands between a label and its value."""
    return "：" if _language() == CHINESE else ": "


def plain(text: str) -> str:
    """Text from a service, so that Markdown shows it as it is."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-.!|$:~" else sign for sign in text)


def show_error(error: GridSecureError) -> None:
    """Show what happened, what to do, and the reason code; never a trace."""
    lines = [f"**{say('error')}**"]
    words = f"error_{error.reason}"
    if words in PHRASES:
        lines.append(tell(words))
    if words not in PHRASES or error.reason in _NAMING:
        lines += [plain(text) for text in (error.message, error.remedy) if text]
    lines.append(f"{say('reason_code')}{colon()}`{error.reason.replace('`', '')}`")
    st.error("  \n".join(lines), icon=":material/error:")


def hold_language() -> None:
    """Keep the language for this run, whose thousands of words else look it up one by one."""
    _HELD.set(st.session_state.get("language", BOTH))


def _language() -> str:
    chosen: str = _HELD.get() or st.session_state.get("language", BOTH)
    return chosen


def _joined(key: str, between: str, values: dict[str, object]) -> str:
    chinese, english = (text.format(**values) for text in PHRASES[key])
    return _chosen(chinese, english, between)


def _chosen(chinese: str, english: str, between: str) -> str:
    if _language() == CHINESE:
        return chinese
    if _language() == ENGLISH:
        return english
    return f"{chinese}{between}{english}"
