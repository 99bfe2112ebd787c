"""Totals of a question told with noise: charged before they were decrypted, drawn once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from gridsecure.key_authority.packages import VaultAnswer
from gridsecure.key_authority.vault.gate import Passage
from gridsecure.key_authority.vault.kept_noise import withhold_more
from gridsecure.messages import CellTotal


def tell_with_noise(
    passage: Passage,
    cells: Sequence[CellTotal],
    *,
    sensitivity: int,
    lock: AbstractContextManager[Any],
) -> VaultAnswer:
    """Add noise to what is told, or give the answer that this subject has already.

    Args:
        passage: Of an order that was charged.
        cells: With their exact values, which leave this function with noise or not at all.
        sensitivity: The most that one customer may change all of them by together [Wh].
        lock: The vault's: were its key split anew in between, the answer would be named in the
            folder that is given up, and drawn a second time.

    Raises:
        StorageError: As `NoisyAnswers`.
        InputError, GridSecureError: As `add_noise`.
    """
    with lock:
        return _tell(passage, cells, sensitivity=sensitivity)


def _tell(passage: Passage, cells: Sequence[CellTotal], *, sensitivity: int) -> VaultAnswer:
    kept = passage.gate.noisy.find(passage.digest)
    if kept is not None:
        return withhold_more(kept, cells)
    # Half a second to load, 45 MB: a vault whose policy has no noise never does.
    from gridsecure.key_authority.vault.laplace_noise import add_noise  # noqa: PLC0415

    told = [int(cell.value) for cell in cells if cell.value is not None]
    drawn, statement = add_noise(told, sensitivity=sensitivity, epsilon=passage.epsilon)
    values = iter(drawn)
    noisy = [
        cell if cell.value is None else cell.model_copy(update={"value": str(next(values))})
        for cell in cells
    ]
    answer = VaultAnswer(cells=noisy, statements=[], noise=statement)
    passage.gate.noisy.keep(passage.digest, answer)
    return answer
