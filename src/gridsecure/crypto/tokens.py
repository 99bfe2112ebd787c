"""Access tokens: JWTs signed with SM2, algorithm name `SGD_SM3_SM2` (GM/T 0125.1-2022).

The signature is `r ‖ s`, 64 bytes, over the ASCII `header.payload`, as RFC 7518 §3.4 does it for
other curves. PyJWT assembles, parses and drives the signature; claims are checked here, because
time is an argument in this house and PyJWT reads the clock.

Invariants:
- One private registry holds one algorithm, so no header can ask for `none`, HMAC or another curve.
- Keys are Sm2PublicKey and Sm2PrivateKey objects only, so no public key can pass for an HMAC key.
- A token has exactly one spelling: no padding, no unknown header, no other type of a claim.
- Whatever failed, the error is an AuthenticityError, which callers answer alike.

Not here: revocation, and login. A token is a session credential, given out after authentication.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, cast

from jwt.algorithms import Algorithm
from jwt.api_jws import PyJWS
from jwt.exceptions import InvalidKeyError, PyJWTError

from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import AccessDeniedError, SignatureError, StaleMessageError

ALGORITHM: Final = "SGD_SM3_SM2"
"""The algorithm's name in GM/T 0125.1-2022; no IANA name is registered."""

MAX_TOKEN_BYTES: Final = 8192
"""Longest token that is looked at [bytes]; ours have some 600."""

CLOCK_SKEW: Final = timedelta(seconds=30)
"""How far ahead of the verifier an issuer's clock may be; expiry has no such grace."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_REQUIRED: Final = {"sub": str, "aud": str, "iss": str, "jti": str, "iat": int, "exp": int}
_LAST_SECOND: Final = 253402300799  # 9999-12-31T23:59:59Z, the last that datetime can hold


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says.

    Args:
        subject: Who may act.
        issued_at: From when, aware; whole seconds survive the token, fractions are cut off.
        expires_at: Until when, exclusive, aware; whole seconds as above.
        token_id: A unique name for this token.
        holder_thumbprint: The SM2 key that must prove possession, if the token is bound to one.
        tenant: The organisation that its subject is of; empty where that is not said.
    """

    subject: str
    roles: tuple[str, ...]
    audience: str
    issuer: str
    issued_at: datetime
    expires_at: datetime
    token_id: str
    holder_thumbprint: str | None = None
    tenant: str = ""

    def __post_init__(self) -> None:
        if self.issued_at.tzinfo is None or self.expires_at.tzinfo is None:
            raise ValueError("a token's times need a time zone")


_NO_JWK: Final = "keys are exchanged as 65-byte points, not as JWK"
"""No standard gives SM2 keys a JWK form; one of our own would be a second way to write a key."""


class _Sm2Algorithm(Algorithm):
    """SM2 with SM3 as PyJWT wants an algorithm."""

    def prepare_key(self, key: object) -> Sm2PublicKey | Sm2PrivateKey:
        if not isinstance(key, Sm2PublicKey | Sm2PrivateKey):
            raise InvalidKeyError("an SM2 token needs an SM2 key object")
        return key

    def sign(self, msg: bytes, key: Sm2PrivateKey) -> bytes:
        return key.sign(msg)

    def verify(self, msg: bytes, key: Sm2PublicKey, sig: bytes) -> bool:
        try:
            key.verify(msg, sig)
        except SignatureError:
            return False
        return True

    @staticmethod
    def to_jwk(key_obj: object, as_dict: bool = False) -> NoReturn:
        raise NotImplementedError(_NO_JWK)  # for good: PyJWT asks, and there is no such form

    @staticmethod
    def from_jwk(jwk: str | dict[str, Any]) -> NoReturn:
        raise NotImplementedError(_NO_JWK)  # for good: PyJWT asks, and there is no such form


_jws = PyJWS(algorithms=[])
_jws.register_algorithm(ALGORITHM, _Sm2Algorithm())


def issue_token(claims: TokenClaims, *, key: Sm2PrivateKey) -> str:
    """Sign claims into a token.

    Raises:
        ValueError: It would expire before it is issued, or be longer than `MAX_TOKEN_BYTES`.
    """
    issued, expires = int(claims.issued_at.timestamp()), int(claims.expires_at.timestamp())
    if expires <= issued:
        raise ValueError("a token must expire after it is issued")
    payload: dict[str, object] = {
        "sub": claims.subject,
        "roles": list(claims.roles),
        "aud": claims.audience,
        "iss": claims.issuer,
        "iat": issued,
        "exp": expires,
        "jti": claims.token_id,
    }
    if claims.holder_thumbprint is not None:
        # RFC 7800's place for a proof-of-possession key, under the name of our own thumbprint.
        payload["cnf"] = {"sm3": claims.holder_thumbprint}
    if claims.tenant:
        payload["tenant"] = claims.tenant
    text = json.dumps(payload, separators=(",", ":"), sort_keys=True)
    headers = {"kid": key.public_key.thumbprint}
    # PyJWT's annotations know its own key types only; `prepare_key` checks ours.
    token = _jws.encode(text.encode(), cast("Any", key), algorithm=ALGORITHM, headers=headers)
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError(f"a token has at most {MAX_TOKEN_BYTES} bytes")
    return token


def verify_token(
    token: str, *, key: Sm2PublicKey, audience: str, issuer: str, now: datetime
) -> TokenClaims:
    """Return what a token says after checking who signed it, for whom, and when.

    1. Shape: three base64url parts, the exact header that `issue_token` writes.
    2. Signature, by the one algorithm, before the payload is parsed.
    3. Claims: all present, of the right type.
    4. Audience and issuer; then issue and expiry times.

    Args:
        now: The present, aware.

    Raises:
        SignatureError: Steps 1 to 3 failed.
        AccessDeniedError: It is for another service or from another issuer.
        StaleMessageError: It has expired or lies in the future.
        ValueError: `now` is naive.
    """
    if now.tzinfo is None:
        raise ValueError("the present needs a time zone")
    claims = _read_claims(_verified_payload(token, key))
    if claims.audience != audience or claims.issuer != issuer:
        raise AccessDeniedError(
            "The token is not for this service.",
            reason="authenticity.token-audience",
            remedy="Sign in to this service.",
        )
    if claims.issued_at > now + CLOCK_SKEW or claims.expires_at <= now:
        raise StaleMessageError(
            "The token is not valid at this time.",
            reason="authenticity.token-time",
            remedy="Sign in again.",
        )
    return claims


def _verified_payload(token: str, key: Sm2PublicKey) -> bytes:
    """Return the payload once shape and signature hold (steps 1 and 2)."""
    if len(token) > MAX_TOKEN_BYTES or _TOKEN.fullmatch(token) is None:
        raise _refused()
    try:
        parsed = _jws.decode_complete(token, cast("Any", key), algorithms=[ALGORITHM])
    except PyJWTError as refused:
        raise _refused() from refused
    if parsed["header"] != {"alg": ALGORITHM, "typ": "JWT", "kid": key.thumbprint}:
        raise _refused()
    payload: bytes = parsed["payload"]
    return payload


def _read_claims(payload: bytes) -> TokenClaims:
    """Return the claims if every one is there with its type (step 3)."""
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError) as malformed:
        raise _refused() from malformed
    if not isinstance(said, dict) or any(
        type(said.get(name)) is not kind for name, kind in _REQUIRED.items()
    ):
        raise _refused()
    roles, confirmation = said.get("roles"), said.get("cnf", {"sm3": None})
    if not isinstance(roles, list) or any(type(role) is not str for role in roles):
        raise _refused()
    if not isinstance(said.get("tenant", ""), str):
        raise _refused()
    if not isinstance(confirmation, dict) or not isinstance(confirmation.get("sm3"), str | None):
        raise _refused()
    return TokenClaims(
        subject=said["sub"],
        roles=tuple(roles),
        audience=said["aud"],
        issuer=said["iss"],
        issued_at=_moment(said["iat"]),
        expires_at=_moment(said["exp"]),
        token_id=said["jti"],
        holder_thumbprint=confirmation.get("sm3"),
        tenant=said.get("tenant", ""),
    )


def _moment(seconds: int) -> datetime:
    """Return a NumericDate of RFC 7519 as a datetime."""
    if not 0 <= seconds <= _LAST_SECOND:
        raise _refused()
    return datetime.fromtimestamp(seconds, UTC)


def _refused() -> SignatureError:
    return SignatureError(
        "The token does not verify.", reason="authenticity.token", remedy="Sign in again."
    )
