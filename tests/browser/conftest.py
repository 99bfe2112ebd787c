"""One browser and one served demonstration for all that is tested in a browser."""

from __future__ import annotations

from tests.browser.chromium import is_left_out

collect_ignore_glob = ["test_console.py"] if is_left_out() else []
