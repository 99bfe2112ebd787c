"""Commands that people run on their own machine, where their keys are.

What is put into a command is a digest or an address of our own settings, quoted for the shell.
Names in capitals are for the reader to fill in.
"""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Final

SIGN_IN: Final = "gridsecure identity sign-in --key KEY_FILE"


def close_month(month: str, *, identity: str, platform: str, timezone: str, cycle_day: int) -> str:
    """Sign a month's next closing list with the billing office's key, and hand it in.

    Args:
        month: As 2026-07, checked.
        identity: Base address of the identity service.
        platform: Base address of the compute platform.
        timezone: IANA name of the supply area's local time.
        cycle_day: Day of the month that billing periods begin on.
    """
    return (
        f"gridsecure period close --month {quote(month)} --identity {quote(identity)} "
        f"--platform {quote(platform)} --timezone {quote(timezone)} "
        f"--cycle-day {cycle_day} --key KEY_FILE --office-key OFFICE_KEY_FILE"
    )


def decide(subject: str, *, decision: str, identity: str, authority: str) -> str:
    """Approve or reject what waits, with the officer's own key.

    Args:
        subject: Digest of what is asked.
        decision: `show`, `sign` or `reject`.
        identity: Base address of the identity service.
        authority: Base address of the key authority.
    """
    return (
        f"gridsecure approval {decision} {quote(subject)} --identity {quote(identity)} "
        f"--authority {quote(authority)} --key KEY_FILE"
    )


def propose_design(*, identity: str, market: str) -> tuple[str, ...]:
    """Sign a product's design with its file in it, and bring it to the market.

    Args:
        identity: Base address of the identity service.
        market: Base address of the market.
    """
    return (
        "gridsecure market recipe PRODUCT.toml --file",
        "gridsecure market form product-design",
        *_bring("DESIGN", identity=identity, market=market),
    )


def trade(*, identity: str, market: str) -> tuple[str, ...]:
    """Sign any document of the market and bring it there.

    Args:
        identity: Base address of the identity service.
        market: Base address of the market.
    """
    return (
        "gridsecure market kinds",
        "gridsecure market form KIND",
        *_bring("DOCUMENT", identity=identity, market=market),
    )


def show_document(digest: str, *, identity: str, market: str) -> str:
    """Show a document of the market with its signatures.

    Args:
        identity: Base address of the identity service.
        market: Base address of the market.
    """
    return f"gridsecure market show {quote(digest)} {_at(identity, market)}"


def use_managed_key(
    key_id: str, algorithm: str, *, identity: str, encryption: str
) -> tuple[str, ...]:
    """What a user does under a managed key, with files of the user's own machine.

    Args:
        key_id: The managed key's.
        algorithm: What it is of.
        identity: Base address of the identity service.
        encryption: Base address of the encryption service.
    """
    verbs = {"sm2": ("sign",), "hmac-sm3": ("mac",), "sm4": ("seal", "open")}.get(algorithm, ())
    output = " --output OUTPUT" if algorithm == "sm4" else ""
    at = _at_encryption(identity, encryption)
    return tuple(f"gridsecure eaas {verb} {quote(key_id)} FILE{output} {at}" for verb in verbs)


def move_managed_key(
    key_id: str, targets: Sequence[str], *, identity: str, encryption: str
) -> tuple[str, ...]:
    """What an officer does with a managed key.

    Args:
        key_id: The managed key's.
        targets: The states that it may have next; an active one may be rotated, too.
        identity: Base address of the identity service.
        encryption: Base address of the encryption service.
    """
    at = _at_encryption(identity, encryption)
    rotated = [f"gridsecure eaas rotate {quote(key_id)} {at}"] if "suspended" in targets else []
    moves = (f"gridsecure eaas move {quote(key_id)} {target} {at}" for target in targets)
    return (*rotated, *moves)


def look_at_level(level: str, *, policy: str) -> tuple[str, ...]:
    """What a level asks for, where it is set, and what a policy lacks; no service is asked.

    Args:
        level: A level that ships.
        policy: The name of a policy that ships; empty where there is none.
    """
    against = f" --policy {quote(policy)}" if policy else ""
    return (
        f"gridsecure level explain {quote(level)}{against}",
        f"gridsecure level check {quote(level)}{against} --custodians N --needed M",
    )


def make_managed_key(*, identity: str, encryption: str) -> str:
    """Make a managed key, as an officer.

    Args:
        identity: Base address of the identity service.
        encryption: Base address of the encryption service.
    """
    return f"gridsecure eaas create NAME sm2 {_at_encryption(identity, encryption)}"


def _at_encryption(identity: str, encryption: str) -> str:
    return f"--identity {quote(identity)} --encryption {quote(encryption)} --key KEY_FILE"


def _bring(name: str, *, identity: str, market: str) -> tuple[str, str]:
    return (
        f"gridsecure market sign {name}.json --key KEY_FILE --output {name}.signed.json",
        f"gridsecure market send {name}.signed.json {_at(identity, market)}",
    )


def _at(identity: str, market: str) -> str:
    return f"--identity {quote(identity)} --market {quote(market)} --key KEY_FILE"


def decide_correction(number: int, *, identity: str, gateway: str) -> str:
    """Approve an order of a correction, as a second operator.

    Args:
        number: The order's.
        identity: Base address of the identity service.
        gateway: Base address of the gateway.
    """
    return (
        f"gridsecure correction approve {number} --reason REASON --identity {quote(identity)} "
        f"--gateway {quote(gateway)} --key KEY_FILE"
    )


def move_keys(key_id: str, *, move: str, identity: str, authority: str) -> str:
    """Move a gateway's key set to another state, as a custodian.

    Args:
        key_id: The key set's.
        move: `suspend`, `resume`, `rotate` or `show`.
        identity: Base address of the identity service.
        authority: Base address of the key authority.
    """
    return (
        f"gridsecure keys {move} {quote(key_id)} --identity {quote(identity)} "
        f"--authority {quote(authority)} --key KEY_FILE"
    )


def verify_certificate(authority_key: str) -> str:
    """Verify a certificate that was downloaded, with the pinned key alone.

    Args:
        authority_key: The key authority's public key, 130 hexadecimal digits.
    """
    return f"gridsecure verify CERTIFICATE_FILE --authority-key {quote(authority_key)}"


def replay_certificate(authority_key: str) -> str:
    """Execute a certificate's plans again from the ciphertexts.

    Args:
        authority_key: The key authority's public key, 130 hexadecimal digits.
    """
    return (
        "gridsecure replay FOLDER/certificate.json --objects FOLDER "
        f"--authority-key {quote(authority_key)} --identity-key IDENTITY_KEY"
    )


def export_evidence(release: str, *, identity: str, platform: str, authority: str) -> str:
    """Fetch what a replay of a certificate takes, as the regulator.

    Args:
        release: The release's id.
        identity: Base address of the identity service.
        platform: Base address of the compute platform.
        authority: Base address of the key authority.
    """
    return (
        f"gridsecure evidence export {quote(release)} --out FOLDER --identity {quote(identity)} "
        f"--platform {quote(platform)} --authority {quote(authority)} --key KEY_FILE"
    )


def share(name: str, *, url: str) -> str:
    """Compute this office's share for a warrant, and print it.

    Args:
        name: Hash of the warrant.
        url: Base address of the identity service.
    """
    return f"gridsecure identity share {quote(name)} {_with_keys(url)} --print"


def order_search(*, url: str) -> str:
    """Order a search for a person's pseudonyms; the person's name stays out of the dashboard.

    Args:
        url: Base address of the identity service.
    """
    return (
        "gridsecure identity revoke-person --identity IDENTITY --reference REFERENCE "
        f"--url {quote(url)} --key KEY_FILE"
    )


def work(name: str, *, url: str) -> str:
    """Do this office's steps of a search.

    Args:
        name: Hash of the search's order.
        url: Base address of the identity service.
    """
    return f"gridsecure identity revoke-person --continue {quote(name)} {_with_keys(url)}"


def _with_keys(url: str) -> str:
    return f"--url {quote(url)} --key KEY_FILE --opener-key OPENER_KEY_FILE --witness HEADS_FILE"
