"""`make bench`: the operator beside its peers, in one run, printed as tables; nothing here passes or fails by speed."""

import argparse
import asyncio
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.candidates import CANDIDATES
from bench.measure import Figures, Plan, measure
from bench.table import render_own, render_rows


def main() -> None:
    """Measure and print."""
    names = [candidate.name for candidate in CANDIDATES]
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--pipelines", type=int, nargs="*", default=[1, 100, 1000, 10_000])
    parser.add_argument("--candidates", nargs="*", choices=names, default=names)
    parser.add_argument("--interval", type=float, default=3.0, help="pause between polls, for all (default: 3 s)")
    parser.add_argument("--rest-polls", type=int, default=10, help="how many intervals to rest (default: 10)")
    parser.add_argument("--samples", type=int, default=50, help="approvals one after another (default: 50)")
    parser.add_argument("--burst", type=int, default=1000, help="approvals at once (default: 1000)")
    arguments = parser.parse_args()
    plan = Plan(
        interval=arguments.interval,
        rest_polls=arguments.rest_polls,
        samples=arguments.samples,
        burst=arguments.burst,
    )
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(
        f"Python {platform.python_version()}, kopf {version('kopf')}, poll interval {plan.interval:g} s\n", flush=True
    )
    own: list[Figures] = []
    for count in arguments.pipelines:
        rows: list[Figures] = []
        for candidate in CANDIDATES:
            if candidate.name in arguments.candidates and count <= candidate.most_pipelines:
                print(f"… {candidate.title} with {count:,}", file=sys.stderr, flush=True)
                rows.append(asyncio.run(measure(candidate, count, plan)))
        own += [row for row in rows if row.candidate.script is None]
        print(f"{render_rows(rows)}\n", flush=True)
    print(render_own(own))


if __name__ == "__main__":
    main()
