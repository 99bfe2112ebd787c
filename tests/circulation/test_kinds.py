"""A kind is what keeps one signed message from being read as another."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

KIND = re.compile(r'^    kind: ClassVar\[str\] = "([^"]+)"', re.MULTILINE)
SOURCES = Path(__file__).resolve().parents[2] / "src"


def test_every_kind_of_message_is_of_one_class() -> None:
    texts = (path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py"))
    kinds = [kind for text in texts for kind in KIND.findall(text)]
    assert len(kinds) > 50
    assert [kind for kind, many in Counter(kinds).items() if many > 1] == []
