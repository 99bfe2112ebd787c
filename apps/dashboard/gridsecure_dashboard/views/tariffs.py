"""The tariff catalogue: hours, tiers and rates of a month, what makes up a kWh, and differences.

Published prices alone; nothing on this page is about anybody's energy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst import tariff_catalogue as catalogue
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.charts import hour_strips
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import CHINESE, chosen_language, listed, plain, say, say_or, tell

_MONTHS: Final = range(1, 13)
_PLACES: Final = 8  # of rates in a file
_FIRST: Final = "Shenzhen"
_SHOWN_FIRST: Final = "shenzhen-commercial-four-period"
_PERIODS: Final = ("sharp", "peak", "flat", "valley", "deep-valley")
_CHANGED: Final = ("added", "removed", "changed")
_WORDED: Final = frozenset({"windows", "demand_windows", "tiers", "rates", "days"})


def show() -> None:
    """A tariff and a month of it, then its differences from another one."""
    session = access.enter(access.TARIFFS)
    with access.explain_errors():
        editions = _editions()
        names = {name: _name(name, editions) for name in sorted(editions, key=_place(editions))}
        first, second = st.columns([3, 1])
        name = first.selectbox(
            say("tariff"),
            list(names),
            index=list(names).index(_SHOWN_FIRST) if _SHOWN_FIRST in names else 0,
            format_func=names.__getitem__,
            key="tariff",
        )
        tariff = catalogue.find_edition(editions, name)
        month = second.selectbox(
            say("tariff_month"),
            _MONTHS,
            index=catalogue.first_month(tariff).month - 1,
            key=f"tariff_month_{name}",
        )
        st.header(names[name])
        _head(tariff)
        _hours(tariff, month)
        _rates(session, tariff, month)
        _build_up(tariff, month)
        _tiers(tariff, month)
        _sources(tariff)
        _differences(session, editions, names, name)


@st.cache_resource(show_spinner=False)
def _editions() -> dict[str, catalogue.Edition]:
    """Files of the package, which never change while a process runs."""
    return catalogue.list_editions()


def _place(editions: dict[str, catalogue.Edition]) -> Callable[[str], tuple[str, str]]:
    """Tariffs of one place beside one another, Shenzhen's first."""
    return lambda name: ("" if editions[name].city == _FIRST else editions[name].city, name)


def _name(name: str, editions: dict[str, catalogue.Edition]) -> str:
    tariff = editions[name]
    words = {CHINESE: tariff.name_zh}.get(chosen_language(), tariff.name_en)
    return f"{words} · {tariff.version}"


def _head(tariff: catalogue.Edition) -> None:
    ends = "" if tariff.valid_to is None else f"{tariff.valid_to:%Y-%m-%d}"
    fields = {
        "tariff_id": tariff.tariff_id,
        "tariff_version": tariff.version,
        "tariff_city": say_or("city", tariff.city),
        "tariff_from": f"{tariff.valid_from:%Y-%m-%d}",
        "tariff_to": ends or say("tariff_open"),
        "tariff_convention": say_or("convention", tariff.tier_convention or ""),
        "tariff_reset": say_or("reset", tariff.tier_reset) if tariff.tiers else "",
        "tariff_vat": figures.percent(tariff.vat_rate) if tariff.vat_rate is not None else "",
    }
    kept = {key: text for key, text in fields.items() if text}
    table = pd.DataFrame({"field": [say(key) for key in kept], "value": list(kept.values())})
    show_table(table, titles={"field": say("field"), "value": say("value")}, wide=("value",),
               whole=True)  # fmt: skip
    doubted = catalogue.count_unconfirmed(tariff)
    if doubted:
        st.warning(tell("tariff_doubts", count=doubted), icon=":material/help:")


def _hours(tariff: catalogue.Edition, month: int) -> None:
    days = catalogue.day_hours(tariff, month=month)
    if not days:
        return
    st.subheader(say("tariff_hours"))
    rows = [
        {
            "day": listed(say_or("day", one) for one in types),
            "label": say_or("tou", label),
            "begin": begin / 60,
            "end": end / 60,
            "hours": _span(begin, end),
            "order": label,
        }
        for types, segments in days
        for begin, end, label in segments
    ]
    table = pd.DataFrame(rows, dtype=object)
    labels = [one for one in _PERIODS if one in set(table["order"])]
    labels += sorted(set(table["order"]) - set(labels))
    st.altair_chart(
        hour_strips(
            table,
            labels={one: say_or("tou", one) for one in labels},
            hour_title=say("tariff_clock"),
            label_title=say("tou_period"),
        ),
        width="stretch",
    )
    _hours_listed(days, labels)


def _hours_listed(days: Sequence[catalogue.DayHours], labels: Sequence[str]) -> None:
    """The same in words, for who does not see colours."""
    rows = []
    for types, segments in days:
        for one in labels:
            hours = [_span(begin, end) for begin, end, label in segments if label == one]
            if hours:
                rows.append(
                    {
                        "day_type": listed(say_or("day", name) for name in types),
                        "tou_period": say_or("tou", one),
                        "tariff_hours": ", ".join(hours),
                    }
                )
    table = pd.DataFrame(rows, dtype=object)
    titles = {str(name): say(str(name)) for name in table}
    show_table(table, titles=titles, wide=("tariff_hours",), whole=True)


def _span(begin: int, end: int) -> str:
    return f"{catalogue.clock_text(begin)}–{catalogue.clock_text(end)}"


def _rates(session: Session, tariff: catalogue.Edition, month: int) -> None:
    st.subheader(say("tariff_rates"))
    rows: list[dict[str, object]] = [
        {
            "charge": say_or("charge", line.rate.charge),
            "tou_period": say_or("tou", line.rate.tou_period or ""),
            "tier": line.rate.tier or "",
            "rate": line.rate.rate.normalize(),
            "unit": _unit(line.rate.unit),
            "tariff_months": line.months,
            "confidence": say_or("confidence", line.confidence),
        }
        for line in catalogue.rate_lines(tariff, month=month)
    ]
    table = pd.DataFrame(rows, dtype=object)
    kept = [str(name) for name in table if any(table[name])]
    titles = {name: say(name) for name in kept}
    show_table(table, titles=titles, formats={"rate": _price}, whole=True)
    show_plain_exports(
        session,
        name=f"tariff-{tariff.tariff_id}-{tariff.version}-{month:02}",
        title=f"{tariff.tariff_id} · {tariff.version} · {say('tariff_rates')}",
        columns={name: _PLACES if name == "rate" else 0 for name in kept},
        rows=rows,
        facts={**_named(tariff), "tariff_month": str(month)},
    )


def _named(tariff: catalogue.Edition) -> dict[str, str]:
    """Which edition a file is of, and what it rests on."""
    return {
        "tariff_id": tariff.tariff_id,
        "tariff_version": tariff.version,
        "tariff_from": f"{tariff.valid_from:%Y-%m-%d}",
        "tariff_sources": "; ".join(source.title for source in tariff.sources),
    }


def _unit(unit: str) -> str:
    """A rate's unit as the reader says it."""
    money, _, per = unit.partition("/")
    return f"{say_or('currency', money)}/{say_or('per', per)}" if per else unit


def _build_up(tariff: catalogue.Edition, month: int) -> None:
    found = catalogue.build_up(tariff, month=month)
    if found is None:
        st.caption(tell("tariff_no_build_up"))
        return
    st.subheader(say("tariff_build_up"))
    names = [say_or("tou", one) if one else say("tariff_every_kwh") for one in found.periods]
    prices = {say_or("charge", charge): rates for charge, rates in found.parts.items()}
    prices[say("tariff_sum")] = found.total
    table = pd.DataFrame(
        [
            {"charge": charge} | dict(zip(names, rates, strict=True))
            for charge, rates in prices.items()
        ],
        dtype=object,
    )
    show_table(
        table,
        titles={"charge": say("charge")} | {name: name for name in names},
        formats=dict.fromkeys(names, _price),
        whole=True,
    )
    st.caption(tell("tariff_build_up_how"))


def _price(rate: Decimal) -> str:
    return f"{rate.normalize():f}"


def _tiers(tariff: catalogue.Edition, month: int) -> None:
    own = [tier for tier in tariff.tiers if month in tier.months]
    if not own:
        return
    st.subheader(say("tariff_tiers"))
    table = pd.DataFrame(
        [
            {
                "tier": tier.tier,
                "tou_period": say_or("tou", tier.tou_period or ""),
                "tier_limit": say("tier_open")
                if tier.upper_limit is None
                else f"{tier.upper_limit.normalize():f} {tier.unit}",
            }
            for tier in own
        ],
        dtype=object,
    )
    kept = [str(name) for name in table if any(table[name])]
    show_table(table, titles={name: say(name) for name in kept}, whole=True)


def _sources(tariff: catalogue.Edition) -> None:
    with st.expander(say("tariff_sources")):
        for source in tariff.sources:
            words = f"**{say_or('confidence', source.confidence)}**: {plain(source.title)}"
            document = f"  \n{plain(source.document)}" if source.document else ""
            st.markdown(words + document)


def _differences(
    session: Session, editions: dict[str, catalogue.Edition], names: dict[str, str], name: str
) -> None:
    st.header(say("tariff_differences"))
    others = {other: names[other] for other in names if other != name}
    wanted = st.selectbox(
        say("tariff_compare"), list(others), index=None, format_func=others.__getitem__,
        placeholder=say("tariff_choose"), key=f"tariff_other_{name}",
    )  # fmt: skip
    if wanted is None:
        return
    before, after = (catalogue.find_edition(editions, one) for one in (wanted, name))
    changes = catalogue.compare_editions(before, after)
    if not changes:
        st.info(tell("tariff_same"))
        return
    counts = {kind: sum(one.kind == kind for one in changes) for kind in _CHANGED}
    key_figures([Tile(say(f"tariff_{kind}"), figures.count(n)) for kind, n in counts.items()])
    rows: list[dict[str, object]] = [
        {
            "tariff_part": say_or("tariff_part", one.part),
            "tariff_row": " ".join(_word(word) for word in one.key.split(" ")),
            "tariff_months": catalogue.change_months(one.months),
            "change": say(f"tariff_{one.kind}"),
            "tariff_before": _cell(one.part, one.before),
            "tariff_after": _cell(one.part, one.after),
        }
        for one in changes
    ]
    table = pd.DataFrame(rows, dtype=object)
    titles = {str(key): say(str(key)) for key in table}
    show_table(table, titles=titles, wide=("tariff_before", "tariff_after"))
    show_plain_exports(
        session,
        name=f"tariff-differences-{after.tariff_id}-{after.version}",
        title=f"{say('tariff_differences')} · {names[name]}",
        columns=dict.fromkeys(titles, 0),
        rows=rows,
        facts={**_named(after), "tariff_compare": names[wanted]},
    )


def _cell(part: str, text: str | None) -> str:
    """What a row says, its words as the reader's; titles stay their writers'."""
    if text is None or part not in _WORDED:
        return text or ""
    return re.sub("[a-z][a-z-]+", lambda found: _word(found[0]), text)


def _word(word: str) -> str:
    """A word of a row: a charge, a period, or as the file has it."""
    for prefix in ("charge", "tou", "day", "confidence", "header", "word"):
        named = say_or(prefix, word)
        if named != word:
            return named
    return word


if __name__ == "__main__":
    show()
