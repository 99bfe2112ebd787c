"""Reads the text of our own PDFs back, page by page: enough of the format, and no more.

The fonts of a statement without an embedded font are three: Latin in Windows encoding, Symbol, and
Chinese in UTF-16. Text is shown by Tj only.
"""

from __future__ import annotations

import base64
import re
import zlib

_SYMBOL = {0xAE: "→", 0xBB: "≈", 0xA3: "≤", 0xB3: "≥"}
_OPERATION = re.compile(rb"/(F\S+) [\d.]+ Tf|\(((?:\\.|[^\\()])*)\) Tj", re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def page_texts(pdf: bytes) -> list[str]:
    """The text of every page, without blanks, since line breaks are not blanks in the file."""
    objects = {
        int(number): body for number, body in re.findall(rb"(\d+) 0 obj(.*?)endobj", pdf, re.DOTALL)
    }
    fonts = {}
    for body in objects.values():
        if re.search(rb"/Type /Font\b", body):
            name, base = re.search(rb"/Name /(\S+)", body), re.search(rb"/BaseFont /(\S+)", body)
            if name and base:
                fonts[name.group(1)] = base.group(1).decode()
    (kids,) = (body for body in objects.values() if b"/Type /Pages" in body)
    order = [int(number) for number in re.findall(rb"(\d+) 0 R", kids.split(b"/Kids")[1])]
    pages = [objects[number] for number in order if b"/Contents" in objects[number]]
    return [_text(_contents(page, objects), fonts) for page in pages]


def _contents(page: bytes, objects: dict[int, bytes]) -> bytes:
    match = re.search(rb"/Contents (\d+) 0 R", page)
    assert match is not None
    body = objects[int(match.group(1))]
    stream = body.split(b"stream\n", 1)[1].split(b"endstream")[0].strip()
    return zlib.decompress(base64.a85decode(b"<~" + stream, adobe=True))


def _text(content: bytes, fonts: dict[bytes, str]) -> str:
    font, pieces = "", []
    for name, shown in _OPERATION.findall(content):
        if name:
            font = fonts[name]
        else:
            pieces.append(_decoded(_ESCAPE.sub(_unescape, shown), font))
    return "".join("".join(pieces).replace("–", "−").split())


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match.group(1)
    return bytes([int(code, 8)]) if code.isdigit() else _NAMED.get(code, code)


def _decoded(data: bytes, font: str) -> str:
    if font == "Symbol":
        return "".join(_SYMBOL[code] for code in data)
    return data.decode("utf-16-be" if font.startswith("STSong") else "cp1252")
