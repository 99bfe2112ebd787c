"""Corrected books of a billed month: a multiplier, a contract or a move that was entered wrongly.

A month is billed by the books of the revision that its plan names. A correction may name a later
one, and the month counts by that from then on, as it does by a corrected rule book. What a bill
cannot take over in its roster is left as it was billed, by name: see `find_fixed`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.gateway.books.as_of import contracts_as_of
from gridsecure.gateway.books.months import MonthContracts
from gridsecure.gateway.collection import MonthFiles
from gridsecure.gateway.correction_plan import CorrectionFiles, find_waiting, list_corrections
from gridsecure.gateway.correction_versions import LatestVersion
from gridsecure.gateway.zone import GatewayZone

TARIFF: Final = "books.tariff"
LARGE: Final = "books.large"
ZONE: Final = "books.zone"
CUSTOMER_CLASS: Final = "books.class"


def correct_books(
    zone: GatewayZone,
    files: MonthFiles,
    *,
    versions: Sequence[CorrectionFiles],
    waiting: Sequence[Collection[str]],
    billed: Collection[str] = (),
) -> MonthContracts:
    """The books that a month counts by after some corrections.

    Args:
        files: The month as it was first billed.
        versions: Its corrections, in order.
        waiting: Of each, the holders for whom nothing of it counts, from `find_waiting`.
        billed: Holders that have a bill of the month.
    """
    period, books = zone.period(files.month), files.contracts()
    for version, without in zip(versions, waiting, strict=True):
        if version.books:
            newer = contracts_as_of(zone, period=period, revision=version.books)
            books = books.corrected_by(
                newer, without=without, billed=billed, first=period.start.date()
            )
    return books


def latest_books(zone: GatewayZone, files: MonthFiles) -> MonthContracts:
    """The books that a month counts by after all corrections that are fixed."""
    plans = list_corrections(zone, files.month)
    waiting = find_waiting([plan.left_out for plan in plans])
    return correct_books(zone, files, versions=[one.files for one in plans], waiting=waiting)


def find_differing(before: MonthContracts, after: MonthContracts) -> set[str]:
    """Holders and meter points of which the books of a month say something else than before."""
    found: set[str] = set()
    for of in (_contracts, _days, _meters, _objections):
        was, now = of(before), of(after)
        found |= {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
    return found


def find_moved(first: MonthContracts, now: MonthContracts) -> frozenset[str]:
    """Holders that have other days of a month, or another meter point, than it was first billed by.

    Whoever was not in the first books is among them: its days may have been another's.
    """
    was, has = _holdings(first), _holdings(now)
    return frozenset(name for name in was.keys() | has.keys() if was.get(name) != has.get(name))


def _holdings(books: MonthContracts) -> dict[str, object]:
    whole: dict[str, object] = dict.fromkeys(books.contracts["meter_point_id"], "whole")
    return whole | _days(books)


def _contracts(books: MonthContracts) -> dict[str, object]:
    rows = books.contracts.itertuples(index=False, name=None)
    names = books.contracts["meter_point_id"]
    return dict(zip(names, rows, strict=True))


def _days(books: MonthContracts) -> dict[str, object]:
    found: dict[str, set[object]] = {}
    for one in books.moved:
        found.setdefault(one.holder, set()).add((one.meter_point_id, one.days))
    return dict(found)


def _meters(books: MonthContracts) -> dict[str, object]:
    found: dict[str, list[object]] = {}
    for one in books.meters:
        found.setdefault(one.meter_point_id, []).append(one)
    return dict(found)


def _objections(books: MonthContracts) -> Mapping[str, object]:
    return books.objections


def find_fixed(
    heads: Sequence[tuple[LatestVersion, Collection[str]]],
    billed: pd.DataFrame,
    *,
    meters: Mapping[str, str],
) -> dict[str, str]:
    """Billed holders whose corrected books say what their roster cannot take over, and what.

    A roster has one tariff and one way of counting tiers, and its cells are what the identity
    authority certified. Whoever is to be in another one moves there under another name.

    Args:
        heads: The latest version of every roster, with the ids that its tariff may have.
        billed: Contract rows of those who would be billed.
        meters: Pseudonym -> holder.

    Returns:
        Holder -> reason, of `admission.REASONS`.
    """
    rows = billed.set_index("meter_point_id")
    found: dict[str, str] = {}
    for head, tariff_ids in heads:
        roster = head.roster
        names = [meters[pseudonym] for pseudonym in roster.pseudonyms]
        own = rows.reindex(names)
        is_there = own["tariff_id"].notna().to_numpy(bool)
        said = {
            CUSTOMER_CLASS: _contradicts(own["customer_class"], roster.customer_classes),
            ZONE: _contradicts(own["zone"], roster.zones),
            LARGE: (own["large"] == "yes").to_numpy(bool) != roster.large,
            TARIFF: ~own["tariff_id"].isin(tariff_ids).to_numpy(bool),
        }
        for reason, differs in said.items():
            found |= dict.fromkeys(np.array(names, dtype=object)[differs & is_there], reason)
    return found


def _contradicts(stated: pd.Series[str], certified: Sequence[str]) -> NDArray[np.bool_]:
    """Where contracts state something, and something else than was certified."""
    texts = stated.fillna("").to_numpy(object)
    differs: NDArray[np.bool_] = (texts != "") & (texts != np.array(certified, dtype=object))
    return differs
