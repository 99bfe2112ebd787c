"""A folder as an analyst keeps it, of a made-up city: what the notebooks in docs/notebooks read.

    python -m tests.desk_folder FOLDER

Releases are signed by a key that is made for it and thrown away; no number is of anybody.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from gridsecure.analyst.desk import answer_published, verify_releases
from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.cli.query_files import csv_bytes
from gridsecure.crypto.sm2 import generate_private_key
from tests.analyst.logged_certificates import write_certificate
from tests.queries.published_months import MONTHS, bill_release, curve_release

SERIES = Path(__file__).parents[1] / "docs" / "series"


def make_desk(folder: Path) -> None:
    """Write the authority's key, two months of releases, series, and a kept answer."""
    key = generate_private_key()
    releases = folder / "releases"
    releases.mkdir(parents=True)
    paths = [
        write_certificate(item, key=key, folder=releases)
        for month in MONTHS
        for item in (curve_release(month), bill_release(month))
    ]
    (folder / "authority.txt").write_text(key.public_key.point.hex() + "\n", encoding="utf-8")
    shutil.copytree(SERIES, folder / "series")
    # The mean use of a segment, as a sealed question's answer is written to a file.
    asked = {
        "measure": "energy", "period": {"month": "2026-07"}, "every": "day",
        "where": {"zone": ["futian"], "customer_class": ["shop"]}, "statistic": {"name": "mean"},
    }  # fmt: skip
    published = verify_releases(
        [paths[-2].read_bytes()], authorities=[PinnedAuthority(key.public_key)]
    )
    kept = answer_published(asked, published)
    (folder / "segment.csv").write_bytes(csv_bytes(kept.frame))


if __name__ == "__main__":
    make_desk(Path(sys.argv[1]))
