"""Inference beside the home libraries: `uv run python -m benchmarks CASE --precision fp32 [--rounds 5] [--quick]`.

`uv run python -m benchmarks table` writes the table of the documentation from what was kept.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.inference import CASES

PRECISIONS = ("fp32", "bf16", "int8", "fp16-weights")


def main() -> int:
    """Run one case, or write the table; 1 where our answers are not those of the home library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=[*CASES, "start", "table"])
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works; nothing is kept")
    asked = parser.parse_args()
    if asked.case == "table":
        from benchmarks.table import write

        write()
        return 0
    if asked.rounds < 2:
        parser.error("--rounds is 2 or more: a median has quartiles")
    rounds = 2 if asked.quick else asked.rounds
    if asked.case == "start":
        from benchmarks.start import measure as start

        start(rounds, asked.quick)
        return 0
    from benchmarks.inference.measure import measure

    return measure(asked.case, asked.precision, rounds, asked.quick)


if __name__ == "__main__":
    sys.exit(main())
