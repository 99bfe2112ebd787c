"""What makes an upload a correction of another: each rule by itself, on public facts alone."""

from __future__ import annotations

import pytest

from gridsecure.errors import InputError
from gridsecure.messages import ColumnEntry, RosterManifest, UploadManifest
from gridsecure.plans.correction_rules import Version, check_correction, is_correction

ROSTER = RosterManifest(
    roster_id="r" * 32,
    gateway_id="g" * 64,
    domain="platform/billing/2026-07",
    tariff="1" * 64,
    pseudonyms=["a", "b", "c"],
    zones=["futian"] * 3,
    customer_classes=["household"] * 3,
    household_quota_wh=[0, 100_000, 0],
    contracted_va=[0] * 3,
)
COLUMN = ColumnEntry(
    quantity="total",
    parameters="p",
    key_id="k",
    unit="Wh",
    start="2026-07-01T00:00:00+08:00",
    end="2026-08-01T00:00:00+08:00",
    high=1,
    digest="d" * 64,
    size=1,
)
FIRST = Version(
    "f" * 64,
    UploadManifest(
        roster_id=ROSTER.roster_id,
        gateway_id=ROSTER.gateway_id,
        start=COLUMN.start,
        end=COLUMN.end,
        sequence=1,
        estimated_readings=0,
        columns=[COLUMN],
    ),
    ROSTER,
)


def second(*, roster: RosterManifest = ROSTER, **changes: object) -> Version:
    """A sound correction of slot 1, with something else."""
    fields: dict[str, object] = {
        "sequence": 2,
        "columns": [COLUMN.model_copy(update={"digest": "e" * 64})],
        "revision": 2,
        "corrects": FIRST.digest,
        "corrected_slots": [1],
    }
    upload = FIRST.upload.model_copy(update=fields | changes)
    return Version("s" * 64, upload, roster)


OTHER = {"tariff": "2" * 64, "roster_id": "t" * 32}
RETARIFFED = ROSTER.model_copy(update=OTHER)


def facts(**changed: object) -> RosterManifest:
    """The roster with other facts of slots."""
    return ROSTER.model_copy(update={"roster_id": "t" * 32, "seats": "9" * 64} | changed)


@pytest.mark.parametrize(
    "sound",
    [
        second(),
        second(corrected_slots=[0, 1, 2]),
        second(roster=RETARIFFED, corrected_slots=[0, 1, 2]),
        second(roster=facts(contracted_va=[0, 160_000, 0])),
        second(roster=facts(free_quota_wh=[0, 10_000, 0], service_from=["", "2026-07", ""])),
        second(
            roster=RETARIFFED.model_copy(update={"household_quota_wh": [0] * 3}),
            corrected_slots=[0, 1, 2],
        ),
    ],
)
def test_a_sound_correction_passes(sound: Version) -> None:
    check_correction(sound, corrected=FIRST)
    assert is_correction(sound.upload)
    assert not is_correction(FIRST.upload)


def moved(**changes: object) -> RosterManifest:
    return ROSTER.model_copy(update=OTHER | changes)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (second(corrects="0" * 64), "target"),
        (second(gateway_id="h" * 64), "gateway"),
        (second(start="2026-06-01T00:00:00+08:00"), "period"),
        (second(end="2026-09-01T00:00:00+08:00"), "period"),
        (second(revision=3), "revision"),
        (second(roster=moved(pseudonyms=["b", "a", "c"])), "roster"),
        (second(roster=moved(zones=["luohu"] * 3)), "roster"),
        (second(roster=moved(customer_classes=["shop"] * 3)), "roster"),
        (second(roster=moved(domain="elsewhere")), "roster"),
        (second(corrected_slots=[3]), "slots"),
        (second(roster=RETARIFFED, corrected_slots=[0, 2]), "slots"),
        (second(roster=facts(household_quota_wh=[0, 100_000, 1])), "slots"),
        (second(roster=facts(service_from=["2026-07", "", ""])), "slots"),
        (second(roster=facts(large=True)), "slots"),
        (second(roster=facts(owner="another")), "slots"),
        (second(columns=[COLUMN]), "unchanged"),
    ],
)
def test_each_rule_has_its_reason(bad: Version, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        check_correction(bad, corrected=FIRST)
    assert refused.value.reason == f"correction.{reason}"
    assert refused.value.remedy
