"""The three ways of one bill: shares that are weighed apart come to the bill in the clear."""

from __future__ import annotations

import numpy as np

from benchmarks import ways


def test_shares_weighed_apart_come_to_the_bill() -> None:
    registers = ways.readings()
    masks = [ways._random() for _ in registers]
    hidden = [own - mask for own, mask in zip(registers, masks, strict=True)]
    assert not any((one == own).any() for one, own in zip(hidden, registers, strict=True))
    amounts = ways._weigh(masks) + ways._weigh(hidden)
    wanted = [
        sum(int(own[slot]) * rate for own, rate in zip(registers, ways.RATES, strict=True))
        for slot in (0, 1, ways.SLOTS - 1)
    ]
    assert amounts[[0, 1, ways.SLOTS - 1]].tolist() == wanted
    assert (ways.in_the_clear(registers).amounts == amounts).all()
    assert np.iinfo(amounts.dtype).max > max(wanted)
