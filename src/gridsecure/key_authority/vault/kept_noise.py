"""Answers with noise, kept by the vault: of one approved question there is one draw, for good.

Whoever could have the same question decrypted twice could average the noise away. So an answer is
in the vault's folder, and named in its signed count of budgets, before it leaves; the same order
again gets that one. An order that was killed before is charged and was not answered: then the noise
is drawn when it comes again.

    charged, on the disk ──► decrypted, drawn ──► kept, on the disk ──► answered
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import StorageError
from gridsecure.key_authority.packages import VaultAnswer
from gridsecure.messages import CellTotal, Digest
from gridsecure.whole_files import replace_file

_ANSWER: Final = ".noisy-answer"


class NamedAnswers(Protocol):
    """What the vault signs of its answers with noise."""

    def find_answer(self, subject: Digest, /) -> Digest:
        """As `SpentBudgets.find_answer`."""
        ...

    def name_answer(self, subject: Digest, answer: Digest, /) -> None:
        """As `SpentBudgets.name_answer`."""
        ...


class NoisyAnswers:
    """The answers of one vault. Its callers see to it that one order is answered at a time.

    Args:
        folder: The vault's own.
        named: Their digests.
    """

    def __init__(self, folder: Path, named: NamedAnswers) -> None:
        self._folder = folder
        self._named = named

    def find(self, subject: Digest) -> VaultAnswer | None:
        """What a subject was answered; None where it was not.

        Raises:
            StorageError: It was, and what is there is not it (`vault.answer`): nothing is drawn
                anew.
        """
        named = self._named.find_answer(subject)
        if not named:
            return None
        try:
            data = self._path(subject).read_bytes()
        except OSError:
            data = b""
        if sm3_hex(data) != named:
            raise StorageError(
                "An answer with noise that the vault gave before is not in its folder any more.",
                reason="vault.answer",
                remedy="Restore the vault's folder from its backup; the noise is not drawn anew.",
            )
        return VaultAnswer.parse(data)

    def keep(self, subject: Digest, answer: VaultAnswer) -> None:
        """Keep what a subject is answered.

        Raises:
            StorageError: The disk refuses; nothing may be answered.
        """
        data = answer.model_dump_json().encode()
        try:
            replace_file(self._path(subject), [data])
        except OSError as error:
            raise StorageError(
                "An answer with noise cannot be kept, and is not given.",
                reason="vault.answer",
                remedy="Free space on the vault's disk, then repeat it.",
            ) from error
        self._named.name_answer(subject, sm3_hex(data))

    def _path(self, subject: Digest) -> Path:
        return self._folder / f"{subject}{_ANSWER}"


def withhold_more(answer: VaultAnswer, cells: Sequence[CellTotal]) -> VaultAnswer:
    """A kept answer without what is withheld by now.

    Args:
        cells: As they would be told exactly now, in the same order.
    """
    kept = [
        own if cell.value is not None else cell
        for own, cell in zip(answer.cells, cells, strict=True)
    ]
    return answer.model_copy(update={"cells": kept})
