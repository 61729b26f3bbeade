"""Ask a service every 10 ms whether it lives, until the input ends; print the longest answer in milliseconds.

It is a program of its own, ``python -m benchmarks.serve.health PORT``: within that of many clients, what is measured
would be how long they let it wait.
"""

from __future__ import annotations

import select
import sys
import time

from benchmarks.serve.running import Line

EVERY = 0.01


def main() -> None:
    """Ask, and print the longest time."""
    line, longest = Line(int(sys.argv[1])), 0.0
    while not select.select([sys.stdin], [], [], EVERY)[0]:
        began = time.perf_counter()
        assert line.ask("/livez")[0] == 200
        longest = max(longest, time.perf_counter() - began)
    print(1000 * longest)


if __name__ == "__main__":
    main()
