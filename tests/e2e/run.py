#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""
End-to-end tests with real software. Each test runs in namespaces and a cgroup of its own; what a failed
one left stands in build/e2e/NAME.

  run.py [-k PATTERN] [--slow] [--program build/sidetap] [--jobs 2] [--list]
"""

import argparse
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from kit import case, net, runner  # noqa: E402
from kit.capture import Failure  # noqa: E402


def load_cases():
    for name in sorted(os.listdir(HERE)):
        if name.startswith("cases_") and name.endswith(".py"):
            __import__(name[:-3])


def one(args):
    t = case.TESTS[args.inside]
    c = case.Case(args.program, args.dir, args.cgroup)
    try:
        said = t.function(c, *t.args)
        if t.ledger and not c.ledger_checked:
            raise Failure("the test never saw `ledger --check` succeed")
        return said
    finally:
        c.close()


def main():
    p = argparse.ArgumentParser(description="End-to-end tests of sidetap with real software.")
    runner.add_arguments(p, TOP, "e2e")
    p.add_argument("--slow", action="store_true", help="the long campaigns, and only those")
    args = p.parse_args()
    args.program = os.path.abspath(args.program)
    args.out = os.path.abspath(args.out)
    load_cases()
    if args.inside:
        net.set_name("e2e")
        net.run("ip", "link", "set", "lo", "up")
        return runner.inside(args, lambda: one(args))
    tests = [t for t in case.TESTS.values() if re.search(args.pattern, t.name) and t.slow == args.slow]
    if args.list:
        print("\n".join(t.name for t in tests))
        return 0
    why = runner.usable(args)
    if why:
        print("run.py: " + why, file=sys.stderr)
        return 2
    r = runner.Runner(args, os.path.join(HERE, "run.py"))
    r.prepare()
    return r.run(tests)


if __name__ == "__main__":
    sys.exit(main())
