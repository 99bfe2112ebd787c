"""The regulator's seat (监管): what all organisations did in a month, and no value of any release.

It reads and writes nothing. Each service tells a regulator what it tells one anyway; here it stands
in one place, and leaves as one report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

import pandas as pd
import streamlit as st

from gridsecure.circulation.kinds import KIND_NAMES
from gridsecure.wire.sessions import AUTHORITY, IDENTITY, MARKET, Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.billed_months import earlier
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.phrases import PHRASES
from gridsecure_dashboard.side_by_side import ask_all
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import say, say_or, tell

_MONTHS: Final = 13
_STATES: Final = ("waiting", "refused", "rejected")
_DIGEST: Final = re.compile("[0-9a-f]{32,}")
_METERED: Final = {
    "seen_name": "usage_measure",
    "seen_at": "usage_amount",
    "seen_who": "usage_party",
}
_COLUMNS: Final = {
    "seen_what": 0, "seen_name": 0, "seen_who": 0, "seen_to": 0, "seen_state": 0, "seen_at": 0,
}  # fmt: skip


class Seen(NamedTuple):
    """A line of the report.

    Args:
        what: Its section, a key of phrases.
        at: ISO 8601, or a number of what was metered; empty for neither.
    """

    what: str
    name: str
    who: str
    to: str
    state: str
    at: str


def show() -> None:
    """A month: how much of each, each line of it, and the report."""
    session = access.enter(access.SUPERVISION)
    with access.explain_errors():
        newest = f"{datetime.now(UTC):%Y-%m}"
        months = [earlier(newest, months=number) for number in range(_MONTHS)]
        month = st.selectbox(say("usage_month"), months, key="supervision_month")
        lines = _lines(session, month)
        counted = {what: sum(line.what == what for line in lines) for what in _sections(lines)}
        key_figures([Tile(say(what), figures.count(number)) for what, number in counted.items()])
        for what in counted:
            st.header(say(what))
            _table([line for line in lines if line.what == what])
        if not lines:
            st.info(tell("supervision_none"))
        _report(session, lines, month)


def _sections(lines: list[Seen]) -> list[str]:
    return list(dict.fromkeys(line.what for line in lines))


def _lines(session: Session, month: str) -> list[Seen]:
    """What each service tells; one that refuses, or is down, keeps nothing of the others away."""
    found: list[Seen] = []
    for service, read in ((MARKET, _market), (AUTHORITY, _authority), (IDENTITY, _identity)):
        if service in session.tokens:
            with access.explain_errors():
                found += read(session, month)
    return found


def _identity(session: Session, month: str) -> Iterator[Seen]:
    for one in access.open_offices().warrants(session):
        if _month_of(one.ordered_at) == month:
            at, state = one.ordered_at, say_or("warrant_state", one.state)
            yield Seen("seen_openings", one.reference, one.ordered_by, "", state, at.isoformat())


def _month_of(at: str | datetime) -> str:
    """Of UTC."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC).strftime("%Y-%m")


def _market(session: Session, month: str) -> Iterator[Seen]:
    """Every document that the market took in or signed in the month, of all organisations."""
    market = access.open_market()
    asked = ask_all(
        [partial(market.documents, session, kind, side="everybody") for kind in KIND_NAMES]
    )
    for kind, documents in zip(KIND_NAMES, asked, strict=True):
        for one in documents:
            if _month_of(one.told.at) == month:
                told = one.told
                state = say_or("paper_state", told.state)
                yield Seen(
                    f"kind_{kind}", told.digest, told.organisation, told.counterpart, state, told.at
                )
    for used in market.usage(session, month=month).used:
        yield _metered(used.measure, used.party, used.amount)


def _authority(session: Session, month: str) -> Iterator[Seen]:
    client = access.open_client()
    for one in client.releases(session):
        if _month_of(one.released_at) == month:
            plan, purpose = say_or("plan", one.plan), say_or("purpose", one.purpose)
            yield Seen("seen_releases", one.release_id, plan, purpose, "", one.released_at)
    approvals = ask_all([partial(client.approvals, session, state=state) for state in _STATES])
    for state, found in zip(_STATES, approvals, strict=True):
        for asked in found:
            subject = asked.subject
            plan = say_or("plan", subject.plan)
            yield Seen(
                "seen_approvals", subject.request_id, plan, subject.policy_name,
                say(f"asked_{state}"), "",
            )  # fmt: skip
    for key in client.key_sets(session):
        yield Seen("seen_keys", key.key_id, figures.short(key.gateway), "", say(f"key_{key.state}"),
                   key.created_at)  # fmt: skip
    for used in client.usage(session, service=AUTHORITY, month=month).used:
        yield _metered(used.measure, used.party, used.amount)


def _measure(name: str) -> str:
    """What is metered; the market counts its documents by kind."""
    kind = f"kind_{name.removesuffix('s')}"
    return say(kind) if kind in PHRASES else say_or("usage", name)


def _metered(measure: str, party: str, amount: int) -> Seen:
    """A line of what was used: whole, with the unit."""
    told = f"{amount:,} B" if measure.startswith("bytes") else figures.count(amount)
    return Seen("seen_metering", _measure(measure), party, "", "", told)


def _short(text: str) -> str:
    return figures.short(text) if _DIGEST.fullmatch(text) else text


def _table(lines: list[Seen]) -> None:
    zone = access.local_timezone()
    table = pd.DataFrame(
        {
            "seen_name": [_short(one.name) for one in lines],
            "seen_who": [_short(say_or("party", one.who)) for one in lines],
            "seen_to": [_short(one.to) for one in lines],
            "seen_state": [one.state for one in lines],
            "seen_at": [
                figures.moment(one.at, zone=zone) if "T" in one.at else one.at for one in lines
            ],
        },
        dtype=object,
    )
    kept = [str(name) for name in table if any(table[name])]
    if lines[0].what == "seen_metering":
        titles = {name: say(metered) for name, metered in _METERED.items()}
        show_table(table, titles=titles, formats={"seen_at": str})
        return
    show_table(table, titles={name: say(name if name != "seen_at" else "at") for name in kept})


def _report(session: Session, lines: list[Seen], month: str) -> None:
    st.header(say("supervision_report"))
    rows: list[dict[str, object]] = [
        dict(zip(_COLUMNS, (say(one.what), *one[1:]), strict=True)) for one in lines
    ]
    show_plain_exports(
        session,
        name=f"supervision-{month}",
        title=f"{month} {say('page_supervision')}",
        columns=_COLUMNS,
        rows=rows,
        facts={"usage_month": month, "usage_source": tell("supervision_how").replace("  \n", " ")},
    )
    st.caption(tell("supervision_how"))


if __name__ == "__main__":
    show()
