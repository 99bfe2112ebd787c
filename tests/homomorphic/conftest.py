"""One tier roster, encrypted under the session's keys.

Random numbers here come from fixed seeds, so a failure repeats; keys do not, on purpose: every run
tries the bounds on new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import TIER
from gridsecure.homomorphic.plain import PlainColumn
from gridsecure.homomorphic.planning import PlannedColumn
from gridsecure.homomorphic.secret_key import SecretKeySet
from gridsecure.homomorphic.thresholds import MONTH_DIGITS, WH_PER_KWH, thermometer
from tests.key_fixtures import interval_keys, key_sets, register_keys, tier_keys

__all__ = ["TierRoster", "interval_keys", "key_sets", "register_keys", "tier_keys", "tier_roster"]

HIGH_WH = 8_388_607
"""Largest energy of the tier roster: 8,388 kWh, far above the highest threshold."""

LIMITS_KWH = (
    0, 1, 14, 15, 16, 17, 200, 239, 240, 255, 256, 260, 400, 512, 600, 1365, 2730, 3583, 3584,
    3824, 3838, 3839,
)  # fmt: skip
"""Thresholds worth a slot: every digit at 0 and at 15, carries, and the ends of the range."""


@dataclass(frozen=True)
class TierRoster:
    """The same energies and digits encrypted, in the clear, and as planned bounds."""

    keys: SecretKeySet
    energy_wh: NDArray[np.int64]
    encrypted: EncryptedColumn
    encrypted_digits: dict[tuple[int, int], EncryptedColumn]
    plain: PlainColumn
    plain_digits: dict[tuple[int, int], PlainColumn]
    planned: PlannedColumn
    planned_digits: dict[tuple[int, int], PlannedColumn]


@pytest.fixture(scope="session")
def tier_roster(tier_keys: SecretKeySet) -> TierRoster:
    """16,384 meters: 1 Wh below, at and above every limit first, then uniform over the range."""
    rng = np.random.default_rng(7)
    edges = [limit * 1000 + step for limit in LIMITS_KWH for step in (-1, 0, 1)]
    ends = [0, 1, 999, HIGH_WH]
    first = np.array([wh for wh in edges + ends if wh >= 0], dtype=np.int64)
    rest = rng.integers(0, HIGH_WH + 1, TIER.ring_degree - len(first))
    energy_wh = np.concatenate([first, rest])
    digits = thermometer(energy_wh // WH_PER_KWH, digits=MONTH_DIGITS)
    public = tier_keys.public
    return TierRoster(
        keys=tier_keys,
        energy_wh=energy_wh,
        encrypted=public.encrypt(energy_wh, high=HIGH_WH),
        encrypted_digits={key: public.encrypt(v, high=1) for key, v in digits.items()},
        plain=PlainColumn.of(energy_wh),
        plain_digits={key: PlainColumn.of(v) for key, v in digits.items()},
        planned=PlannedColumn.fresh(TIER, high=HIGH_WH),
        planned_digits={key: PlannedColumn.fresh(TIER, high=1) for key in digits},
    )
