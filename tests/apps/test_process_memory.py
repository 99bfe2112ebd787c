"""What processes do about their memory; what cannot be undone in a process of its own."""

from __future__ import annotations

import gc
import json
import platform
import subprocess
import sys

from gridsecure.cli import main as command

PAGES = """
import json, resource, sys
import numpy as np
from gridsecure_api.process_memory import keep_freed_pages, return_freed_pages
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) >> 8
is_kept = keep_freed_pages() if sys.argv[1] == "kept" else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.ones(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first, then, held = faults(), faults(), resident()
return_freed_pages()
print(json.dumps([is_kept, then, held - resident()]))
"""
OBJECTS = """
import gc, json
from gridsecure.garbage import settle_objects
settle_objects()
class Ring: pass
made = Ring(); made.own = made
import weakref
seen = weakref.ref(made)
del made
gc.collect()
print(json.dumps([gc.get_freeze_count(), gc.get_threshold()[0], seen() is None]))
"""


def told(code, *arguments):
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, check=True, text=True
    )
    return json.loads(run.stdout)


def test_freed_pages_are_used_again_and_given_back():
    is_kept, faults, returned_mib = told(PAGES, "kept")
    assert is_kept == (platform.libc_ver()[0] == "glibc")
    if not is_kept:  # another C library has no switches
        return
    _, faults_without, _ = told(PAGES, "given back")
    # 64 MiB, eight times: in pages of 4 KiB 131,072, in huge ones 256
    assert faults < faults_without / 8
    assert returned_mib > 48


def test_what_a_service_starts_with_is_searched_no_more():
    frozen, threshold, is_gone = told(OBJECTS)
    assert frozen > 5_000
    assert threshold > 700
    assert is_gone


def test_a_command_searches_as_seldom(monkeypatch):
    before, seen = gc.get_threshold(), []
    monkeypatch.setattr(command, "app", lambda: seen.append(gc.get_threshold()[0]))
    try:
        command.main()
    finally:
        gc.set_threshold(*before)
    assert seen == [50_000]
