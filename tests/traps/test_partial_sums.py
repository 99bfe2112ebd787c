"""Trap: a released "sum of 15 households" gave back all 15 readings.

The high-level `sum()` rotates and adds, which leaves shifted partial sums in the other slots, and a
vector's length is an unauthenticated number in its message. Group totals by zero-sum blinding have
no other slots to read: every one of them is uniform.
"""

from __future__ import annotations

import numpy as np
import tenseal

from gridsecure.homomorphic.blinding import SEED_SIZE, SlotGroups, group_sums, zero_sum_blinding
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.homomorphic.secret_key import SecretKeySet

HOUSEHOLDS = 15


def readings_wh() -> list[int]:
    readings: list[int] = np.random.default_rng(15).integers(100, 900, HOUSEHOLDS).tolist()
    return readings


def every_slot_of_a_sum(context: tenseal.Context, readings: list[int]) -> list[int]:
    """What the owner decrypts when the released sum's length is forged from 1 to 8192."""
    released = tenseal.bfv_vector(context, readings).sum()
    assert released.decrypt() == [sum(readings)], "looks like one number"
    message = released.serialize()
    assert message[:3] == b"\x0a\x01\x01", "a packed list of one length: 1"
    forged = tenseal.bfv_vector_from(context, b"\x0a\x02\x80\x40" + message[3:])
    slots: list[int] = forged.decrypt()
    assert len(slots) == 8192
    return slots


def test_library_sum_gives_every_summand_back() -> None:
    context = tenseal.context(
        tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=8192, plain_modulus=1032193
    )
    context.generate_galois_keys()
    readings = readings_wh()
    slots = every_slot_of_a_sum(context, readings)

    # Which readings each slot adds up is the same for everybody, so learn it from unit vectors.
    units = np.eye(HOUSEHOLDS, dtype=np.int64).tolist()
    weights = np.array([every_slot_of_a_sum(context, unit) for unit in units]).T
    assert np.linalg.matrix_rank(weights) == HOUSEHOLDS
    stolen, *_ = np.linalg.lstsq(weights, np.array(slots), rcond=None)
    assert np.rint(stolen).astype(int).tolist() == readings


def test_blinded_totals_leave_no_summand_in_any_slot(interval_keys: SecretKeySet) -> None:
    """The same households: the total is exact, and differences of slots say nothing."""
    readings = np.array(readings_wh())
    groups = np.zeros(HOUSEHOLDS, dtype=np.int64)
    seen = []
    for number in range(200):
        (blinding,) = zero_sum_blinding(
            number.to_bytes(SEED_SIZE, "big"),
            groups=[SlotGroups.of(groups)],
            modulus=INTERVAL.plain_modulus,
            purpose="total",
        )
        column = interval_keys.public.encrypt(readings, high=900).blind(blinding)
        slots = interval_keys.decrypt(column)
        assert len(slots) == HOUSEHOLDS
        sums = group_sums(slots, groups=SlotGroups.of(groups), modulus=INTERVAL.plain_modulus)
        assert sums == {0: int(readings.sum())}
        seen.append(slots)
    spread = np.stack(seen).astype(float) / INTERVAL.plain_modulus
    # 200 uniform numbers on [0, 1): their mean is 0.5 ± 0.02, their deviation 0.289 ± 0.009.
    assert (np.abs(spread.mean(axis=0) - 0.5) < 0.12).all()
    assert (np.abs(spread.std(axis=0) - 0.289) < 0.06).all()
    steps = np.mod(np.diff(spread, axis=1), 1.0)
    assert (np.abs(steps.std(axis=0) - 0.289) < 0.06).all(), "nor do differences of slots"
