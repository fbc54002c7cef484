"""`python -m tests.simulation --seeds 1000`: that many virtual days; `--seed N`: one of them. Exit 1 where a promise broke."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing import Pool

from tests.simulation.run import Verdict, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    given = parser.parse_args()
    seeds = [given.seed] if given.seed is not None else list(range(given.first, given.first + given.seeds))
    if len(seeds) == 1:
        return _report(map(simulate, seeds), 1)
    with Pool(given.jobs) as pool:
        return _report(pool.imap_unordered(simulate, seeds), len(seeds))


def _report(verdicts: Iterable[Verdict], total: int) -> int:
    began = told = time.monotonic()
    fired: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    bad = 0
    for count, verdict in enumerate(verdicts, 1):
        fired += verdict.fired
        ends += verdict.ends
        if verdict.faults:
            bad += 1
            _say("\n  ".join([f"seed {verdict.seed}:", *verdict.faults[:8]]))
        if time.monotonic() - told > 10 or count == total:
            told = time.monotonic()
            _say(f"{count} of {total} days, {bad} bad, {told - began:.0f} s")
    _say("faults: " + ", ".join(f"{kind} {number}" for kind, number in fired.most_common()))
    _say("messages: " + ", ".join(f"{status} {number}" for status, number in ends.most_common()))
    return 1 if bad else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
