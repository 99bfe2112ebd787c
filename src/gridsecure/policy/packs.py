"""The policies that ship, by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from gridsecure.errors import InputError
from gridsecure.policy.language import Policy, parse_policy

STRICT: Final = "strict"
UNIFORM: Final = "uniform-15"
"""15 customers for everything that the services release."""

REGIONS: Final = {"cn": "cn", "us": STRICT}
"""The policy for each region whose rules one cites [ISO 3166, small letters]."""

_FOLDER: Final = Path(__file__).with_name("packs")


def list_packs() -> list[str]:
    """Their names."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@cache
def load_pack(name: str) -> Policy:
    """A policy that ships.

    Raises:
        InputError: There is none of this name (`policy.pack`).
    """
    if name not in list_packs():
        raise InputError(
            f"No policy of the name {name!r} ships.",
            reason="policy.pack",
            remedy="Name one of those that `gridsecure policy list` prints, or a file.",
        )
    return parse_policy((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def find_regional(region: str) -> Policy:
    """The policy for a region.

    Raises:
        InputError: None ships for it (`policy.region`).
    """
    name = REGIONS.get(region.lower())
    if name is None:
        raise InputError(
            f"No policy ships for the region {region!r}.",
            reason="policy.region",
            remedy=f"Name one of: {', '.join(REGIONS)}. For another one, write a policy of your "
            "own that names its sources (docs/policy.md).",
        )
    return load_pack(name)


def read_policy_text(path: Path) -> str:
    """The text of a file, byte for byte as written: other line ends would be another digest.

    Raises:
        InputError: It cannot be read (`policy.file`).
    """
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The policy {path.name!r} cannot be read as UTF-8.",
            reason="policy.file",
            remedy="Check the path, the permissions and the encoding.",
        ) from error
