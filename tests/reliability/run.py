#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""
Campaigns against a real Kafka broker: kills, outages, faults of the broker and of the disk, under load. Each runs in
namespaces and a cgroup of its own; what a failed one left stands in build/reliability/NAME, what each measured in
build/reliability/NAME.json.

  run.py [-k PATTERN] [--kills 20] [--each 6] [--outage 60] [--seconds 20] [--seed N] [--program build/sidetap]
"""

import argparse
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
sys.dont_write_bytecode = True

from kit import case, net, runner  # noqa: E402
import world  # noqa: E402

OPTIONS = {"kills": (20, "random kills"), "outage": (60, "seconds without a broker"),
           "seconds": (20, "of the run at full rate"), "seed": (0, "of what is random; 0: by time"),
           "rate": (20000, "calls a second at full rate"),
           "each": (6, "kills at each kind of system call; 0: at all of them")}


def load_cases():
    for name in sorted(os.listdir(HERE)):
        if name.startswith("cases_") and name.endswith(".py"):
            __import__(name[:-3])


def one(args):
    t = case.TESTS[args.inside]
    c = case.Case(args.program, args.dir, args.cgroup)
    w = world.World(c, args)
    try:
        return t.function(w, *t.args)
    finally:
        w.close()
        c.close()


def main():
    p = argparse.ArgumentParser(description="Campaigns against a real Kafka broker.")
    runner.add_arguments(p, TOP, "reliability")
    for name, (default, what) in OPTIONS.items():
        p.add_argument("--" + name, type=int, default=default, help=what)
    args = p.parse_args()
    args.program, args.out = os.path.abspath(args.program), os.path.abspath(args.out)
    args.jobs = 1
    load_cases()
    if args.inside:
        net.set_name("reliability")
        net.run("ip", "link", "set", "lo", "up")
        return runner.inside(args, lambda: one(args))
    tests = [t for t in case.TESTS.values() if re.search(args.pattern, t.name)]
    if args.list:
        print("\n".join(t.name for t in tests))
        return 0
    why = runner.usable(args)
    if why:
        print("run.py: " + why, file=sys.stderr)
        return 2
    world.build_load()
    options = ["--%s=%d" % (name, getattr(args, name)) for name in OPTIONS]
    r = runner.Runner(args, os.path.join(HERE, "run.py"), options + ["--out", args.out])
    r.prepare()
    return r.run(tests)


if __name__ == "__main__":
    sys.exit(main())
