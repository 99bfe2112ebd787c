"""QR codes as rows of modules, which each renderer draws with its own means."""

from __future__ import annotations

from typing import Final

from reportlab.graphics.barcode.qr import QrCodeWidget

from gridsecure.errors import InputError

MOST_BYTES: Final = 1_000
"""A longer text gives modules that a telephone's camera does not tell apart on paper."""


def find_modules(text: str) -> tuple[str, ...]:
    """The modules of a text's QR code (ISO/IEC 18004, error correction M), `1` dark.

    Raises:
        InputError: The text is too long to be printed (`statement.code`).
    """
    if len(text.encode()) > MOST_BYTES:
        raise InputError(
            "What is signed of the bill is too long for a printed code.",
            reason="statement.code",
            remedy="Use an account name of fewer characters.",
        )
    code = QrCodeWidget(text, barLevel="M").qr
    code.make()
    places = range(code.getModuleCount())
    return tuple("".join("01"[bool(code.isDark(row, at))] for at in places) for row in places)
