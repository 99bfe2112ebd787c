"""Valid inputs made wrong: bits, cuts, splices, and values of a text in the place of others.

All chance is an argument, so that a seed alone repeats an input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

Mutation = Callable[[bytes, Sequence[bytes], Random], bytes]

MOST_CHANGES: Final = 4
"""More of them at once are refused by the first check, and never reach the next one."""
LARGEST: Final = 1 << 17
"""Doubled spans grow no further [bytes]."""

_TOKEN: Final = re.compile(rb'"[^"\n]*"|[\w.:+-]+')
TEXTS: Final = (
    *("", "0", "-1", "-0", "1e5", "1e999999999", "1E-999999999", "NaN", "sNaN", "Infinity", "null"),
    *(
        "9" * 30,
        "9" * 400,
        "9" * 5000,
        "0.1234567891234",
        "1_000",
        "0x10",
        "٣",
        "１",
        "²",
        "½",
        "五",
    ),
    *("2026-02-30", "2026-07-01T24:00:00Z", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-07-01T00:00:00+99:99"),
    *("2026-13", "0000-00", "9999-12", "2026-07-01T00:00:00", "2026-W27", "20260701", "24:00"),
    *("true", "false", "\\ud800", "\\u0000", "\x00", "\x1b[2J", "\u202e", "\ufeff", "😀", "İ"),
    *("=1+1", "../../x", "Asia/Nowhere", "/etc/passwd", "a" * 300, "[" * 3000, "(" * 400),
    *('{"a":' * 400, "\r", "\n\n", "\u2028", "'''", '"""', "[[rules]]", "+08:00", "UTC", "kWh"),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**63, 2**64, 10**400, -(2**31), 0.1, 1e308, float("nan")),
    *("", "0", "a", "x" * 300, "\x00", "\ud800", "2026-07", "9999-12", "2026-07-01", "0" * 64),
    *([], {}, [[]], [None], {"": None}, ["a", "a"], {"name": "sum"}, [0, 1], ["2026-07-01"] * 2),
    *(float("inf"), "1e999999", "-1", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "二"),
)


def mutate(sample: bytes, samples: Sequence[bytes], chance: Random) -> bytes:
    """A sample with one to `MOST_CHANGES` changes."""
    data = sample
    for _ in range(chance.randint(1, MOST_CHANGES)):
        change = chance.choice(_JSON if sample[:1] in (b"{", b"[") else _ANY)
        data = change(data, samples, chance)[:LARGEST]
    return data


def _flip(data: bytes, _samples: Sequence[bytes], chance: Random) -> bytes:
    if not data:
        return b"\0"
    changed = bytearray(data)
    changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, _samples: Sequence[bytes], chance: Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def _cut_end(data: bytes, _samples: Sequence[bytes], chance: Random) -> bytes:
    return data[: chance.randint(0, len(data))]


def _cut_out(data: bytes, _samples: Sequence[bytes], chance: Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def _double(data: bytes, _samples: Sequence[bytes], chance: Random) -> bytes:
    start, end = _span(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 1, 2, 50)) + data[end:]


def _splice(data: bytes, samples: Sequence[bytes], chance: Random) -> bytes:
    other = chance.choice(samples)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _insert(data: bytes, _samples: Sequence[bytes], chance: Random) -> bytes:
    place = chance.randint(0, len(data))
    return data[:place] + chance.choice(TEXTS).encode() + data[place:]


def _lines(data: bytes, _samples: Sequence[bytes], chance: Random) -> bytes:
    """Two lines in each other's place, one away, or one twice."""
    lines = data.split(b"\n")
    one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(3):
        case 0:
            lines[one], lines[two] = lines[two], lines[one]
        case 1:
            del lines[one]
        case _:
            lines.insert(two, lines[one])
    return b"\n".join(lines)


def _token(data: bytes, samples: Sequence[bytes], chance: Random) -> bytes:
    """A word, number or quoted text becomes another one, of here or of a list of troublemakers."""
    found = list(_TOKEN.finditer(data[:LARGEST]))
    if not found:
        return _flip(data, samples, chance)
    place, own = chance.choice(found), chance.choice(found)[0]
    new = own if chance.random() < 0.3 else chance.choice(TEXTS).encode()
    if place[0].startswith(b'"') and not new.startswith(b'"') and chance.random() < 0.8:
        new = b'"' + new + b'"'
    return data[: place.start()] + new + data[place.end() :]


def _member(data: bytes, samples: Sequence[bytes], chance: Random) -> bytes:
    """A value of JSON, however deep, becomes another one, or goes away."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _token(data, samples, chance)
    places = list(_places(document))
    if not places:
        return json.dumps(chance.choice(_VALUES)).encode()
    held, key = chance.choice(places)
    match chance.randrange(5):
        case 0:
            del held[key]
        case 1 if isinstance(held, dict):
            held[chance.choice(TEXTS[:40])] = held[key]
        case 2:
            other, name = chance.choice(places)
            # A copy by text: a value within itself could not be written.
            held[key] = json.loads(json.dumps(other[name]))
        case _:
            held[key] = chance.choice(_VALUES)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=chance.random() < 0.5).encode(
        errors="surrogatepass"
    )


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    left = [value]
    while left and len(found) < 2000:
        one = left.pop()
        keys = (
            list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        )
        for key in keys:
            found.append((one, key))
            left.append(one[key])
    return found


def _span(data: bytes, chance: Random) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    longest = chance.choice((1, 4, 16, 256, len(data)))
    return start, min(len(data), start + chance.randint(0, longest))


_BYTES: Final[tuple[Mutation, ...]] = (
    *(_flip, _overwrite, _cut_end, _cut_out, _double, _splice, _insert, _lines),
)
_ANY: Final[tuple[Mutation, ...]] = (*_BYTES, *(_token,) * 6)
_JSON: Final[tuple[Mutation, ...]] = (*_BYTES, _token, *(_member,) * 10)
