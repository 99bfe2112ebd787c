"""Tokens: what was issued verifies; forged, confused, stale and misaddressed ones do not."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.crypto import tokens
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm2_curve import signature_to_der
from gridsecure.crypto.tokens import ALGORITHM, TokenClaims, issue_token, verify_token
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    SignatureError,
    StaleMessageError,
)

KEY = generate_private_key()
PUBLIC = KEY.public_key
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CLAIMS = TokenClaims(
    subject="analyst-7",
    roles=("analyst", "billing"),
    audience="platform",
    issuer="authority",
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
    token_id="t-1",
    holder_thumbprint="ab" * 32,
)


def verified(token: str, now: datetime = NOW) -> TokenClaims:
    return verify_token(token, key=PUBLIC, audience="platform", issuer="authority", now=now)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def forged(
    header: dict[str, Any] | None = None, payload: dict[str, Any] | bytes | None = None
) -> str:
    """A token the issuer's own key signed, with parts replaced (None as a value removes)."""
    head, body, _ = issue_token(CLAIMS, key=KEY).split(".")
    new_header = json.loads(unb64(head)) | (header or {})
    new_header = {k: v for k, v in new_header.items() if v is not None}
    if isinstance(payload, bytes):
        new_body = payload
    else:
        merged = json.loads(unb64(body)) | (payload or {})
        new_body = json.dumps({k: v for k, v in merged.items() if v is not None}).encode()
    signed = b64(json.dumps(new_header).encode()) + "." + b64(new_body)
    return signed + "." + b64(KEY.sign(signed.encode()))


def test_issued_claims_come_back() -> None:
    assert verified(issue_token(CLAIMS, key=KEY)) == CLAIMS
    unbound = dataclasses.replace(CLAIMS, holder_thumbprint=None, roles=())
    assert verified(issue_token(unbound, key=KEY)) == unbound


def test_the_forger_of_these_tests_can_sign_a_good_token() -> None:
    """Otherwise the refusals below would prove nothing."""
    assert verified(forged()) == CLAIMS


def test_header_is_exactly_ours() -> None:
    header = json.loads(unb64(issue_token(CLAIMS, key=KEY).split(".", maxsplit=1)[0]))
    assert header == {"alg": "SGD_SM3_SM2", "typ": "JWT", "kid": PUBLIC.thumbprint}


@given(subject=st.text(max_size=50), roles=st.lists(st.text(max_size=10), max_size=4))
def test_any_text_survives(subject: str, roles: list[str]) -> None:
    claims = dataclasses.replace(CLAIMS, subject=subject, roles=tuple(roles))
    assert verified(issue_token(claims, key=KEY)) == claims


def test_fractions_of_a_second_are_cut_off() -> None:
    claims = dataclasses.replace(CLAIMS, issued_at=NOW + timedelta(milliseconds=999))
    assert verified(issue_token(claims, key=KEY)).issued_at == NOW


# --- time, audience, issuer


@pytest.mark.parametrize(
    ("after", "valid"),
    [
        (timedelta(0), True),
        (-tokens.CLOCK_SKEW, True),
        (-tokens.CLOCK_SKEW - timedelta(seconds=1), False),
        (timedelta(minutes=15) - timedelta(microseconds=1), True),
        (timedelta(minutes=15), False),
        (timedelta(days=400), False),
    ],
)
def test_time_is_the_callers(after: timedelta, valid: bool) -> None:
    token = issue_token(CLAIMS, key=KEY)
    if valid:
        assert verified(token, NOW + after) == CLAIMS
    else:
        with pytest.raises(StaleMessageError) as refused:
            verified(token, NOW + after)
        assert refused.value.reason == "authenticity.token-time"


@pytest.mark.parametrize(("audience", "issuer"), [("gateway", "authority"), ("platform", "me")])
def test_other_services_and_issuers_are_refused(audience: str, issuer: str) -> None:
    with pytest.raises(AccessDeniedError) as refused:
        verify_token(
            issue_token(CLAIMS, key=KEY), key=PUBLIC, audience=audience, issuer=issuer, now=NOW
        )
    assert refused.value.reason == "authenticity.token-audience"


# --- forgeries


def test_another_issuers_key_is_refused() -> None:
    with pytest.raises(SignatureError):
        verified(issue_token(CLAIMS, key=generate_private_key()))


@pytest.mark.parametrize("key", [PUBLIC.point, PUBLIC.point.hex().encode()], ids=["bytes", "hex"])
def test_hmac_keyed_with_the_public_key_is_refused(key: bytes) -> None:
    """The classic confusion; PyJWT's own guards do not recognise a raw SM2 point."""
    _, body, _ = issue_token(CLAIMS, key=KEY).split(".")
    head = b64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": PUBLIC.thumbprint}).encode())
    tag = hmac.new(key, f"{head}.{body}".encode(), hashlib.sha256).digest()
    token = f"{head}.{body}.{b64(tag)}"
    assert (
        jwt.decode(
            token,
            key,
            algorithms=["HS256"],
            options={
                "verify_signature": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_aud": False,
            },
        )["sub"]
        == CLAIMS.subject
    )
    with pytest.raises(SignatureError):
        verified(token)


@pytest.mark.parametrize("name", ["none", "None", "HS256", "ES256", "sgd_sm3_sm2", "", None, 1, []])
def test_other_algorithm_names_are_refused(name: object) -> None:
    with pytest.raises(SignatureError):
        verified(forged(header={"alg": name}))


def test_unsigned_tokens_are_refused() -> None:
    _, body, _ = issue_token(CLAIMS, key=KEY).split(".")
    head = b64(b'{"alg":"none","typ":"JWT"}')
    for token in (f"{head}.{body}.", f"{head}.{body}", f"{head}.{body}.AA"):
        with pytest.raises(SignatureError):
            verified(token)


def test_der_and_stretched_signatures_are_refused() -> None:
    signed, signature = issue_token(CLAIMS, key=KEY).rsplit(".", 1)
    raw = unb64(signature)
    for changed in (signature_to_der(raw), raw + b"\0", raw[:-1], bytes(64), raw[:32] + bytes(32)):
        with pytest.raises(SignatureError):
            verified(f"{signed}.{b64(changed)}")


def test_a_signature_under_another_identity_is_refused() -> None:
    signed, _ = issue_token(CLAIMS, key=KEY).rsplit(".", 1)
    with pytest.raises(SignatureError):
        verified(f"{signed}.{b64(KEY.sign(signed.encode(), identity=b'other'))}")


def test_every_changed_character_is_refused() -> None:
    token = issue_token(CLAIMS, key=KEY)
    for position in range(0, len(token), 7):
        for other in ("A", "z", ".", "="):
            if token[position] != other:
                changed = token[:position] + other + token[position + 1 :]
                with pytest.raises(AuthenticityError):
                    verified(changed)


@pytest.mark.parametrize("tail", ["=", "==", "\n", " ", ".", ".AA", "A"])
def test_a_token_has_one_spelling(tail: str) -> None:
    with pytest.raises(SignatureError):
        verified(issue_token(CLAIMS, key=KEY) + tail)


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.b.c", "\ud800.b.c", "A" * 9000])
def test_junk_is_refused(token: str) -> None:
    with pytest.raises(SignatureError) as refused:
        verified(token)
    assert refused.value.reason == "authenticity.token"
    assert token not in str(refused.value) or len(token) < 3


@pytest.mark.parametrize(
    "header",
    [
        {"kid": None},
        {"kid": "00" * 32},
        {"typ": "at+jwt"},
        {"typ": None},
        {"jku": "https://keys.example"},
        {"jwk": {"kty": "EC"}},
        {"crit": ["exp"], "exp": 1},
        {"b64": False, "crit": ["b64"]},
    ],
)
def test_other_headers_are_refused(header: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        verified(forged(header=header))


@pytest.mark.parametrize("name", ["sub", "aud", "iss", "jti", "iat", "exp", "roles"])
@pytest.mark.parametrize("value", [None, 1.5, True, ["platform"], {"a": 1}, "NaN"])
def test_missing_and_mistyped_claims_are_refused(name: str, value: object) -> None:
    if name == "roles" and value == ["platform"]:
        value = ["platform", 7]
    if isinstance(value, str) and name in {"sub", "aud", "iss", "jti"}:
        value = 0
    with pytest.raises(SignatureError):
        verified(forged(payload={name: value}))


@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize("value", [-1, 253402300800, 10**30])
def test_impossible_times_are_refused(name: str, value: int) -> None:
    with pytest.raises(SignatureError):
        verified(forged(payload={name: value}))


@pytest.mark.parametrize("confirmation", ["ab", [], {"sm3": 1}, {"sm3": ["ab"]}])
def test_mistyped_holders_are_refused(confirmation: object) -> None:
    with pytest.raises(SignatureError):
        verified(forged(payload={"cnf": confirmation}))


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"7", b"{", b"\xff", b'{"exp": NaN}', b"[" * 2000, b"1" * 5000]
)
def test_payloads_that_are_not_claims_are_refused(payload: bytes) -> None:
    with pytest.raises(SignatureError):
        verified(forged(payload=payload))


# --- callers' mistakes, and the registry


def test_the_registry_holds_one_algorithm() -> None:
    assert tokens._jws.get_algorithms() == [ALGORITHM]
    assert ALGORITHM not in jwt.PyJWS().get_algorithms()


@pytest.mark.parametrize(
    "key", [PUBLIC.point, PUBLIC.point.hex(), "", None], ids=["bytes", "hex", "empty", "none"]
)
def test_keys_that_are_not_key_objects_are_refused(key: Any) -> None:
    with pytest.raises(jwt.InvalidKeyError):
        tokens._Sm2Algorithm().prepare_key(key)


def test_there_is_no_jwk_form() -> None:
    with pytest.raises(NotImplementedError, match="65-byte points"):  # what PyJWT expects of it
        tokens._Sm2Algorithm.to_jwk(PUBLIC)
    with pytest.raises(NotImplementedError, match="65-byte points"):  # likewise
        tokens._Sm2Algorithm.from_jwk("{}")


def test_mistakes_of_the_caller_are_value_errors() -> None:
    naive = datetime(2026, 11, 23)  # noqa: DTZ001 - naive on purpose
    with pytest.raises(ValueError, match="time zone"):
        dataclasses.replace(CLAIMS, issued_at=naive)
    with pytest.raises(ValueError, match="time zone"):
        verified(issue_token(CLAIMS, key=KEY), naive)
    with pytest.raises(ValueError, match="expire after"):
        issue_token(dataclasses.replace(CLAIMS, expires_at=NOW), key=KEY)
    with pytest.raises(ValueError, match="at most"):
        issue_token(dataclasses.replace(CLAIMS, subject="s" * 9000), key=KEY)
