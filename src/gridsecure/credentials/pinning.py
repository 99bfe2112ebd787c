"""The keys that holders pin: what the utility and the regulator both say they are.

Each signs the same statement of the issuer's key and of both openers' halves. A holder knows the
two signers' SM2 keys and believes nobody else: an issuer with a key of its own for some holders
would mark them, and an opening key made by one opener alone would open without the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gridsecure.credentials.issuer_keys import IssuerPublicKey
from gridsecure.credentials.opening import OPENERS, Opener, joint_key
from gridsecure.credentials.presentations import PublicKeys
from gridsecure.credentials.suites import Suite
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import SignatureError
from gridsecure.identity_messages import IdentityKeys
from gridsecure.messages import Signed, open_message


def identity_keys(
    issuer: IssuerPublicKey, *, halves: Mapping[Opener, bytes], suite: Suite
) -> IdentityKeys:
    """The statement to sign, each signer for itself.

    Args:
        halves: What each opener published, `OpenerKey.publish`.
    """
    return IdentityKeys(
        issuer=issuer.to_bytes(suite).hex(),
        utility=halves["utility"].hex(),
        regulator=halves["regulator"].hex(),
    )


def check_statements(
    statements: Sequence[Signed], *, signers: Mapping[Opener, Sm2PublicKey]
) -> IdentityKeys:
    """Check the two statements; return what both say.

    Args:
        statements: As the identity authority shows them, in any order.
        signers: The utility's and the regulator's SM2 keys.

    Raises:
        UnknownMeterError: A signer that is neither.
        SignatureError: A signature that does not verify, not one statement of each, or they differ
            (`authenticity.identity-keys`).
        InvalidMessageError: Signed, but of another shape.
    """
    trusted = {signers[name].thumbprint: signers[name] for name in OPENERS}
    said = [open_message(one, expect=IdentityKeys, trusted=trusted) for one in statements]
    if sorted(one.signer for one in statements) != sorted(trusted) or len(trusted) != len(OPENERS):
        raise _disagreed()
    if said[0] != said[1]:
        raise _disagreed()
    return said[0]


def pin_keys(
    statements: Sequence[Signed], *, signers: Mapping[Opener, Sm2PublicKey], suite: Suite
) -> PublicKeys:
    """What a holder pins, from the two statements.

    Args:
        statements: As for `check_statements`.
        signers: As for `check_statements`.

    Raises:
        AuthenticityError: As `check_statements`, or an opener's key comes without proof of
            possession.
        InvalidMessageError: Something stated is no key.
    """
    return read_keys(check_statements(statements, signers=signers), suite=suite)


def read_keys(said: IdentityKeys, *, suite: Suite) -> PublicKeys:
    """The keys in a statement that was checked before.

    Args:
        said: From `check_statements`.

    Raises:
        AuthenticityError: An opener's key has no proof of possession.
        InvalidMessageError: Something stated is no key.
    """
    halves: dict[Opener, bytes] = {
        "utility": bytes.fromhex(said.utility),
        "regulator": bytes.fromhex(said.regulator),
    }
    issuer = IssuerPublicKey.from_bytes(bytes.fromhex(said.issuer), suite=suite)
    return PublicKeys(issuer, joint_key(halves, suite=suite))


def _disagreed() -> SignatureError:
    return SignatureError(
        "The utility and the regulator state different keys.",
        reason="authenticity.identity-keys",
        remedy="Compare their statements with the public log, and pin nothing until they agree.",
    )
