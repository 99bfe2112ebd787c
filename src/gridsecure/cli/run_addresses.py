"""Where the services of a run are, for a shell: the quick starts are written with these names.

Addresses, public keys and folders; nothing in the file is secret.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from gridsecure.cli.home import ZONES, Home
from gridsecure.whole_files import replace_file

ADDRESSES: Final = "addresses.sh"


def write_addresses(home: Home) -> Path:
    """Write `addresses.sh` into a run's folder.

    Raises:
        OSError: The disk refuses.
    """
    named = {
        "RUN": str(home.folder),
        "PEOPLE": str(home.folder / "people"),
        **{zone.upper(): home.url(zone) for zone in ZONES},
        **{f"{zone.upper()}_KEY": home.point(zone) for zone in ZONES},
        "OFFICE_KEY": home.point("billing-office"),
    }
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in named.items())
    path = home.folder / ADDRESSES
    replace_file(path, ["".join(lines).encode()])
    return path
