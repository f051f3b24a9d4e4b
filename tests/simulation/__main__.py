"""`make soak`: play episodes for as long as asked, and report.

make soak                                until interrupted
make soak ARGS="--steps 1000000"         that many steps
make soak ARGS="--minutes 30"            that long
make soak ARGS="--seed 7 --trace"        one episode, the same way every time, and everything that happens in it
make soak ARGS="--examples 1000"         orders of events that Hypothesis chooses; what fails is shortened and printed
"""

import argparse
import itertools
import multiprocessing
import os
import sys
import time

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from simulation.episode import Episode, draw
from simulation.machine import Machine
from simulation.report import Result, measure, play
from simulation.world import Violation

SECONDS_BETWEEN_WORDS = 10.0


def main() -> int:
    """Exit code 0 if nothing was violated."""
    parser = argparse.ArgumentParser(
        prog="make soak ARGS=…", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="play only this episode")
    parser.add_argument("--trace", action="store_true", help="print everything that happens; with --seed")
    parser.add_argument("--steps", type=int, default=0, help="stop after so many steps")
    parser.add_argument("--examples", type=int, default=0, help="let Hypothesis choose so many orders of events")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: as many as processors)"
    )
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.examples:
        return _search(arguments.examples)
    if arguments.seed is not None:
        result = _play_one(arguments.seed, trace=arguments.trace)
    else:
        result = _play_many(arguments, began)
    print(result.render(time.monotonic() - began))
    return 1 if result.failed else 0


def _play_one(seed: int, *, trace: bool) -> Result:
    episode = Episode(draw(seed), trace=print if trace else None)
    print(episode.world.config)
    failed = {}
    try:
        episode.play()
    except Violation as violation:
        failed[seed] = str(violation)
    return measure(episode.world, failed)


def _search(examples: int) -> int:
    found = hypothesis.settings(max_examples=examples, stateful_step_count=40, deadline=None, print_blob=True)
    try:
        run_state_machine_as_test(Machine, settings=found)
    except Violation as violation:
        # The story, and how to play it again.
        print("\n".join([str(violation), *violation.__notes__]))
        return 1
    print(f"{examples:,} examples: violations: 0")
    return 0


def _play_many(arguments: argparse.Namespace, began: float) -> Result:
    total, told = Result(), began
    with multiprocessing.Pool(arguments.jobs) as pool:
        try:
            for result in pool.imap_unordered(play, itertools.count(arguments.first)):
                total.add(result)
                now = time.monotonic()
                if total.failed or 0 < arguments.steps <= total.steps or 0 < arguments.minutes * 60 <= now - began:
                    break
                if now - told > SECONDS_BETWEEN_WORDS:
                    told = now
                    print(f"{total.steps:,} steps, {total.hours:,.0f} hours, {total.episodes:,} episodes", flush=True)
        except KeyboardInterrupt:
            pass
    return total


if __name__ == "__main__":
    sys.exit(main())
