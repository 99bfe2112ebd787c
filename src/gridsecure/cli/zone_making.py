"""What a zone's folder is filled with when it is made: keys, and the tables of its databases.

The one way to either: `gridsecure init` makes a folder of an operator's by it, and `gridsecure run`
those of a demonstration. A key that is there is kept, whatever it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from gridsecure.cli.zone_cards import ZoneCard
from gridsecure.compute.tables import SCHEMA as PLATFORM
from gridsecure.credentials.issuer_keys import IssuerPrivateKey, generate_issuer_key
from gridsecure.credentials.opening import Opener, OpenerKey, generate_opener_key
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key, private_key_from_bytes
from gridsecure.encryption.tables import SCHEMA as ENCRYPTION
from gridsecure.encryption.zone import KEK, load_kek
from gridsecure.gateway.tables import SCHEMA as GATEWAY
from gridsecure.identity.enrolments.tables import SCHEMA as ENROLMENTS
from gridsecure.identity.registrations.tables import SCHEMA as REGISTRATIONS
from gridsecure.key_authority.checker.tables import SCHEMA as CHECKER
from gridsecure.key_authority.vault.ceremony import init_vault
from gridsecure.market.tables import SCHEMA as MARKET
from gridsecure.messages import Signed
from gridsecure.store.database import open_database
from gridsecure.store.schema import Schema, migrate
from gridsecure.vault_messages import Custodian
from gridsecure.zone_keys import (
    BLINDING_KEY,
    LOG_KEY,
    QUERY_KEY,
    SIGNING_KEY,
    load_blinding_key,
    load_log_signer,
    load_query_key,
    load_secret,
    load_signing_key,
)

ISSUER_KEY: Final = "issuer.key"
OPENER_KEY: Final = "opener.key"
CARD_KEY: Final = "card.key"
"""Signs the cards of a vault, whose own key custodians alone pin, and which changes with them."""

SCHEMAS: Final[Mapping[str, Mapping[str, Schema]]] = {
    "identity": {"enrolments": ENROLMENTS, "registrations": REGISTRATIONS},
    "gateway": {"zone": GATEWAY},
    "platform": {"zone": PLATFORM},
    "authority": {"zone": CHECKER},
    "market": {"zone": MARKET},
    "encryption": {"zone": ENCRYPTION},
}
"""The databases of a zone, by the names of their files without `.db`."""
_LOGGING: Final = ("identity", "gateway", "platform", "authority", "market", "encryption")


def make_keys(zone: str, folder: Path) -> Sm2PrivateKey | None:
    """Make the keys of a zone but for a vault's, and return the one that it signs with.

    Returns:
        None of a zone that signs nothing.

    Raises:
        StorageError: The disk refuses, or a key that is there is damaged or open to others.
    """
    if zone in ("worker", "dashboard"):
        return None
    if zone == "vault":
        return _load(folder / "setup", CARD_KEY)
    key = load_signing_key(folder)
    if zone in _LOGGING:
        load_log_signer(folder, log=zone, key=key)
    if zone == "authority":
        load_query_key(folder)
        load_blinding_key(folder)
    if zone == "identity":
        load_issuer_key(folder)
    if zone == "encryption":
        load_kek(folder)
    if zone in ("utility", "regulator"):
        load_opener_key(folder, "utility" if zone == "utility" else "regulator")
    return key


def key_files(zone: str) -> list[str]:
    """The files of a zone's keys, in its folder."""
    if zone in ("worker", "dashboard"):
        return []
    if zone == "vault":
        return [f"setup/{CARD_KEY}", "splitting.json"]
    more = [LOG_KEY] if zone in _LOGGING else []
    more += {
        "authority": [QUERY_KEY, BLINDING_KEY],
        "identity": [ISSUER_KEY],
        "encryption": [KEK],
        "utility": [OPENER_KEY],
        "regulator": [OPENER_KEY],
    }.get(zone, [])
    return [SIGNING_KEY, *more]


def load_issuer_key(folder: Path) -> str:
    """The public half of the identity service's issuer key, in hexadecimal, made now if need be."""
    suite = sm2_suite()
    path = folder / ISSUER_KEY
    data = load_secret(path, lambda: generate_issuer_key(suite).to_bytes(suite))
    own = IssuerPrivateKey.from_bytes(data, suite=suite)
    return own.public_key(suite).to_bytes(suite).hex()


def load_opener_key(folder: Path, opener: Opener) -> str:
    """What an office publishes of its half of the opening key, made now if need be."""
    suite = sm2_suite()
    path = folder / OPENER_KEY
    data = load_secret(path, lambda: generate_opener_key(opener, suite=suite).k.to_bytes(32, "big"))
    return OpenerKey(opener, int.from_bytes(data, "big")).publish(suite).hex()


def make_vault(
    folder: Path, custodians: Sequence[ZoneCard], *, needed: int, now: datetime
) -> dict[str, Signed]:
    """Draw a vault's key and split it; each custodian's sealed share, by name.

    Raises:
        InputError: As `check_custodians`.
        StorageError: The disk refuses.
    """
    named = [Custodian(name=card.name, public_key=card.public_key) for card in custodians]
    return init_vault(folder, named, needed=needed, created_at=now).shares


def make_databases(zone: str, urls: Mapping[str, str]) -> None:
    """Give a zone's databases the tables of this release, or bring them there.

    Args:
        urls: By name, as `SCHEMAS` has them.

    Raises:
        StorageError: One cannot be opened, or is another zone's (`storage.schema`).
    """
    for name, schema in SCHEMAS.get(zone, {}).items():
        engine = open_database(urls[name], connections=1)
        try:
            migrate(engine, schema)
        finally:
            engine.dispose()


def database_urls(zone: str, folder: Path, own: Mapping[str, str]) -> dict[str, str]:
    """Where a zone's databases are.

    Args:
        own: The operator's own settings, by name; a `…_file` of a URL wins over the folder.

    Raises:
        OSError: Such a file cannot be read.
    """
    urls = {}
    for name in SCHEMAS.get(zone, {}):
        setting = "database" if name == "zone" else f"{name}_url"
        file = own.get(f"{setting}_file")
        text = Path(file).read_text(encoding="utf-8").strip() if file else own.get(setting, "")
        urls[name] = text or f"sqlite:///{folder / name}.db"
    return urls


def log_of(zone: str, database: str) -> str:
    """The name of the log in a database, as `database_urls` names these."""
    return zone if database == "zone" else database


def _load(folder: Path, name: str) -> Sm2PrivateKey:
    folder.mkdir(mode=0o700, exist_ok=True)
    return private_key_from_bytes(
        load_secret(folder / name, lambda: generate_private_key().to_bytes())
    )
