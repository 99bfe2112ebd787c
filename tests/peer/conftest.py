"""Not every peer has a wheel for every machine. Tests of one that is absent are not collected."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

_LOG = Path(sys.prefix) / "log-peer"
"""Where `make log-peer` puts proofbundle; behind everything that is locked."""
_BILLS = ["test_plaintext_peer.py", "test_sam_cases.py", "test_sam_facts.py"]

if _LOG.is_dir() and str(_LOG) not in sys.path:
    sys.path.append(str(_LOG))

collect_ignore = [
    *([] if find_spec("PySAM") else _BILLS),
    *([] if find_spec("proofbundle") else ["test_log_peer.py"]),
]
