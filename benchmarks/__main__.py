"""Measure the product's figures: `python -m benchmarks [quick]`.

The same run as `gridsecure bench`, without an installed command. Exits with 1 where a full-size
figure is not what it must be.
"""

from __future__ import annotations

import sys

from apps.cli.bench.report import format_table
from apps.cli.bench.run import run_bench
from apps.cli.bench.sizes import BenchSizes


def main() -> int:
    quick = sys.argv[1:] == ["quick"]
    if sys.argv[1:] and not quick:
        print("usage: python -m benchmarks [quick]", file=sys.stderr)
        return 2
    sizes = BenchSizes.quick() if quick else BenchSizes.full()
    result = run_bench(sizes=sizes, report=lambda line: print(line, file=sys.stderr, flush=True))
    print(format_table(result))
    return 1 if result.missed and not quick else 0


# Guarded, because every worker process of the run imports this module again.
if __name__ == "__main__":
    sys.exit(main())
