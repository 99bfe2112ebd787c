"""Sealed questions: two of one size look alike, and each is one reader's alone."""

from __future__ import annotations

import base64

import pytest

from gridsecure.credentials.queries import Query, parse_query, sealed_query
from gridsecure.credentials.sealed_questions import (
    SIZES,
    QueryKeyNotice,
    open_question,
    question_digest,
    read_query_key,
    seal_question,
    write_question,
)
from gridsecure.crypto.envelope import seal_to
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import EnvelopeError, GridSecureError, InputError, InvalidMessageError
from gridsecure.messages import sign_message
from tests.attacks import attack, cut, rule

KEY, READER = generate_private_key(), generate_private_key().public_key
SHORT, LONG = '{"a":1}', '{"a":"' + "x" * 3000 + '"}'
SPAN = ("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00")


def sealed(question: str = SHORT, *, size: int = 0) -> str:
    content = write_question(question, reader=READER)
    return seal_question(content, recipient=KEY.public_key, size=size)


def query(text: str) -> Query:
    return sealed_query(*SPAN, reader=READER, sealed=text)


def test_what_was_sealed_is_read_by_the_query_key_alone():
    content = write_question(LONG, reader=READER)
    text = seal_question(content, recipient=KEY.public_key)
    assert open_question(text, key=KEY, reader=READER.point.hex()) == content
    assert content.digest == question_digest(LONG, salt=content.salt)
    with pytest.raises(EnvelopeError) as refused:
        open_question(text, key=generate_private_key(), reader=READER.point.hex())
    assert refused.value.reason == "query.sealed"


def test_questions_of_one_size_differ_in_random_bytes_alone():
    one, other = base64.b64decode(sealed(SHORT)), base64.b64decode(sealed(LONG))
    assert len(one) == len(other)
    head = one.index(b"question") + len(b"question")
    head += 2 + len(b"query") + 8 + 2  # the owner, no time, the length of the wrapped key
    assert one[:head] == other[:head]
    assert len(query(sealed(SHORT)).text) == len(query(sealed(LONG)).text)
    assert one[head:] != other[head:]


@pytest.mark.parametrize("size", SIZES)
def test_an_asker_may_take_a_larger_size(size):
    text = sealed(SHORT, size=size)
    assert len(base64.b64decode(text)) - size < 200
    assert parse_query(query(text).text) == query(text)


def test_two_seals_of_one_question_have_two_digests():
    one, other = (write_question(SHORT, reader=READER) for _ in range(2))
    assert one.digest != other.digest


@pytest.mark.parametrize(("length", "size"), [(SIZES[-1], 0), (10, 5000), (5000, 4096 - 1)])
def test_what_has_no_public_size_is_refused(length, size):
    content = write_question("x" * length, reader=READER)
    with pytest.raises(InputError) as refused:
        seal_question(content, recipient=KEY.public_key, size=size)
    assert refused.value.reason == "query.large"


def tampered() -> list[str]:
    good = sealed()
    raw = base64.b64decode(good)
    flipped = raw[:-1] + bytes([raw[-1] ^ 1])

    def envelope(data: bytes, purpose: str = "question") -> str:
        made = {"recipient": KEY.public_key, "purpose": purpose, "owner": "query"}
        from datetime import UTC, datetime  # noqa: PLC0415 - of this one list

        return base64.b64encode(seal_to(data, **made, created_at=datetime.now(UTC))).decode()

    content = write_question(SHORT, reader=READER).model_dump_json().encode()
    padded = (len(content).to_bytes(4, "big") + content).ljust(SIZES[0], b"\0")
    return [
        good[:-4],
        good + "!",
        base64.b64encode(flipped).decode(),
        envelope(padded, "statement"),
        envelope(padded[:-1]),
        envelope(padded[:-1] + b"x"),
        envelope(b"\xff" * SIZES[0]),
        envelope(b""),
    ]


@pytest.mark.parametrize("number", range(8))
def test_what_does_not_open_is_refused(number):
    with pytest.raises(EnvelopeError) as refused:
        open_question(tampered()[number], key=KEY, reader=READER.point.hex())
    assert refused.value.reason == "query.sealed"


@attack(
    "somebody's sealed question in a query of another reader",
    rule(
        "A sealed question says who reads its answer, and opens in that query alone.",
        "query.reader",
        cut(
            "gridsecure.credentials.sealed_questions:open_question",
            "content.reader != reader",
            "False",
        ),
    ),
)
def test_nobody_asks_somebody_elses_question(attacked):
    own = generate_private_key().public_key
    stolen = sealed_query(*SPAN, reader=own, sealed=sealed())
    attacked.tries(lambda: open_question(stolen.sealed, key=KEY, reader=stolen.reader))


@pytest.mark.parametrize("changes", [{"plan": "load-curve"}, {"sealed": ""}])
def test_a_query_is_sealed_or_open(changes):
    with pytest.raises(ValueError, match="sealed question"):
        Query(**query(sealed()).model_dump() | changes)


def test_a_load_curve_is_spelled_as_ever():
    text = Query(
        plan="load-curve",
        start=SPAN[0],
        end=SPAN[1],
        purpose="research",
        reader=READER.point.hex(),
    ).text
    assert "sealed" not in text
    assert parse_query(text).text == text
    with pytest.raises(InvalidMessageError):
        parse_query(text[:-1] + ',"sealed":""}')


def test_the_query_key_is_in_the_pinned_authoritys_word():
    authority = generate_private_key()
    point = KEY.public_key.point.hex()
    notice = QueryKeyNotice(point=point, sizes=list(SIZES), returns="02" * 33)
    trusted = {authority.public_key.thumbprint: authority.public_key}
    signed = sign_message(notice, key=authority).model_dump_json().encode()
    assert read_query_key(signed, trusted=trusted) == (KEY.public_key, b"\2" * 33)
    forged = sign_message(notice, key=KEY).model_dump_json().encode()
    with pytest.raises(GridSecureError):
        read_query_key(forged, trusted=trusted)
    smaller = notice.model_copy(update={"sizes": [1]})
    other = sign_message(smaller, key=authority).model_dump_json().encode()
    with pytest.raises(InvalidMessageError) as refused:
        read_query_key(other, trusted=trusted)
    assert refused.value.reason == "query.sizes"
