"""Measure the product's figures: `python -m benchmarks [--quick] [--format json]`, or `make bench`.

Exits with 1 where a full-size figure is not what it must be.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.report import format_json, format_table
from benchmarks.run import run_bench
from benchmarks.sizes import BenchSizes


def main() -> int:
    """Measure what the command line asks for, print it, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a first look")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    chosen = parser.parse_args()
    sizes = BenchSizes.quick() if chosen.quick else BenchSizes.full()
    result = run_bench(sizes=sizes, report=lambda line: print(line, file=sys.stderr, flush=True))
    print(format_json(result) if chosen.format == "json" else format_table(result))
    return 1 if result.missed and not chosen.quick else 0


# Guarded, because every worker process of the run imports this module again.
if __name__ == "__main__":
    sys.exit(main())
