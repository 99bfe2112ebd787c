"""Rosters: which pseudonym sits in which slot, and which meter point that is, known here alone.

Zone and class of a slot, who counts and who owns the gateway are what the identity authority
certified, whatever the contract file says: nobody takes in a roster that states anything else.

Meter points of one tariff share rosters, so that a rate is one constant for all slots, and large
ones have rosters of their own, because their tiers are counted otherwise. Within a
roster they are ordered by zone, class and pseudonym: the order says nothing about meter numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from gridsecure.billing.part_months import UNHELD_COLUMN
from gridsecure.credentials.seats import counted_slots
from gridsecure.errors import InputError, UnknownMeterError
from gridsecure.gateway.agent_records import Member
from gridsecure.messages import MAX_SLOTS, RosterManifest, SupplyTerms, roster_name
from gridsecure.month_texts import CALENDAR
from gridsecure.plans.execution import roster_contracts

_BY_SLOT: Final = (
    *("pseudonyms", "zones", "customer_classes"),
    *("household_quota_wh", "contracted_va"),
)
_OPTIONAL: Final = ("free_quota_wh", "service_from", UNHELD_COLUMN)
"""Lists of a roster over its slots; the optional ones are empty where nobody has such a fact."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """The gateway that speaks for rosters.

    Args:
        gateway_id: Thumbprint of its signing key.
        owner: Who runs it, as the identity authority certified; empty, it runs itself.
        cycle_day: Day of the month that its billing periods begin on.
        supply: On which terms its owner supplies columns; None where there are none.
    """

    gateway_id: str
    owner: str
    cycle_day: int = CALENDAR
    supply: SupplyTerms | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """A roster as the gateway knows it.

    Args:
        meter_point_ids: The meter point in each slot. Never leaves the gateway.
    """

    manifest: RosterManifest
    meter_point_ids: tuple[str, ...]


def build_rosters(
    contracts: pd.DataFrame,
    *,
    members: Mapping[str, Member],
    tariffs: Mapping[str, str],
    speaker: Speaker,
    domain: str,
) -> list[Roster]:
    """Assign every meter point to a slot.

    Args:
        contracts: Contract frame of the meter points to bill.
        members: Meter point -> its pseudonyms, and the facts certified of it.
        tariffs: Tariff id -> digest of the tariff's text.
        domain: The pseudonym domain ("platform/billing/2026").

    Raises:
        UnknownMeterError: A meter point was never enrolled in this domain.
        InputError: A meter point's tariff is not given (`roster.tariff`).
    """
    unknown = ~contracts["meter_point_id"].isin(members.keys())
    if unknown.any():
        raise UnknownMeterError(
            f"{int(unknown.sum())} meter points have no pseudonym in this domain.",
            remedy="Enrol them with the identity authority first.",
        )
    missing = sorted(set(contracts["tariff_id"]) - set(tariffs))
    if missing:
        raise InputError(
            f"No tariff file was given for {missing[0]!r}.",
            reason="roster.tariff",
            remedy="Add the tariff file, or correct the contract.",
        )
    own = [members[name] for name in contracts["meter_point_id"]]
    named = contracts.assign(
        pseudonym=[member.billing for member in own],
        zone=[member.facts.zone for member in own],
        customer_class=[member.facts.customer_class for member in own],
        counted=[member.facts.counted for member in own],
    )
    ordered = named.sort_values(["tariff_id", "zone", "customer_class", "pseudonym"])
    rosters = []
    large = ordered["large"] == "yes"
    for (tariff_id, is_large), group in ordered.groupby(["tariff_id", large], sort=True):
        for start in range(0, len(group), MAX_SLOTS):
            part = group.iloc[start : start + MAX_SLOTS]
            draft = _draft(part, tariffs[str(tariff_id)], speaker, domain)
            manifest = assign_id(draft.model_copy(update={"large": bool(is_large)}))
            rosters.append(Roster(manifest, tuple(part["meter_point_id"])))
    return rosters


def revise_roster(roster: Roster, *, tariff: str, contracts: pd.DataFrame) -> Roster:
    """The same meter points in the same slots, under the tariff and the facts of a correction.

    Args:
        roster: The roster as billed before.
        tariff: Digest of the tariff's text.
        contracts: Contract rows of at least its meter points.

    Returns:
        A draft without seats; the same roster where nothing changed.
    """
    own = contracts.set_index("meter_point_id").loc[list(roster.meter_point_ids)]
    before = roster.manifest
    other = before.model_copy(update={"tariff": tariff, **_facts(own)})
    if other == before:
        return roster
    return Roster(assign_id(other.model_copy(update={"seats": ""})), roster.meter_point_ids)


def remove_members(roster: Roster, revoked: Collection[str]) -> Roster | None:
    """A roster without some of its members: the same one, another draft, or None with nobody left.

    Nobody moves to another roster, so those that go out of the same month stay as they are.

    Args:
        revoked: Pseudonyms; those it does not seat change nothing.
    """
    manifest = roster.manifest
    left = [slot for slot, name in enumerate(manifest.pseudonyms) if name not in revoked]
    if len(left) == manifest.slots:
        return roster
    if not left:
        return None
    fewer: dict[str, Any] = {"seats": ""}
    for name in (*_BY_SLOT, *_OPTIONAL):
        values = getattr(manifest, name)
        kept = [values[slot] for slot in left] if values else []
        fewer[name] = _given(kept) if name in _OPTIONAL else kept
    if manifest.counted:
        fewer["counted"] = counted_slots([manifest.counted[slot] for slot in left])
    other = manifest.model_copy(update=fewer)
    return Roster(assign_id(other), tuple(roster.meter_point_ids[slot] for slot in left))


def assign_id(draft: RosterManifest) -> RosterManifest:
    """A roster under the id that its content gives."""
    return draft.model_copy(update={"roster_id": roster_name(draft)})


def _draft(members: pd.DataFrame, tariff: str, speaker: Speaker, domain: str) -> RosterManifest:
    return RosterManifest(
        roster_id="",
        gateway_id=speaker.gateway_id,
        owner=speaker.owner,
        cycle_day=speaker.cycle_day,
        supply=speaker.supply,
        domain=domain,
        tariff=tariff,
        pseudonyms=members["pseudonym"].tolist(),
        zones=members["zone"].tolist(),
        customer_classes=members["customer_class"].tolist(),
        counted=counted_slots(members["counted"].tolist()),
        **_facts(members),
    )


def _facts(members: pd.DataFrame) -> dict[str, Any]:
    """What contracts say of each slot, as a roster lists it."""
    return {
        "household_quota_wh": members["household_quota_wh"].astype(np.int64).tolist(),
        "contracted_va": members["contracted_va"].astype(np.int64).tolist(),
        "free_quota_wh": _given(members["free_quota_wh"].astype(np.int64).tolist()),
        "service_from": _given(members["service_from"].tolist()),
        UNHELD_COLUMN: _given(members[UNHELD_COLUMN].tolist()) if UNHELD_COLUMN in members else [],
    }


def _given(facts: list[Any]) -> list[Any]:
    """A list of facts, empty where nobody has one."""
    return facts if any(facts) else []


def contract_frame(roster: RosterManifest) -> pd.DataFrame:
    """A roster's public facts as a contract frame in slot order; pseudonyms for meter points."""
    return pd.DataFrame(dict(roster_contracts(roster).by_name))
