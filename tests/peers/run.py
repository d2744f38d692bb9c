#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""
Real frameworks and proxies as peers of a live capture: README.md. Each scenario runs in namespaces and a
cgroup of its own; what a failed one left stands in build/peers/PEER_SCENARIO.

  run.py [PEER...] [-k PATTERN] [--slow | --every] [--program build/sidetap] [--cache build/cache/peers]
  run.py --golden [PEER...] [-k PATTERN]      records their golden captures into tests/golden
"""

import argparse
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
GOLDEN = os.path.join(TOP, "tests", "golden")
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from kit import case, modes, net, peer, runner, world  # noqa: E402
from kit.capture import Skip  # noqa: E402


class Test:
    alone = False

    def __init__(self, name, scenario):
        self.name, self.timeout = "%s_%s" % (name, scenario.name), scenario.timeout
        self.scenario = scenario


def cache_of(args, name):
    d = os.path.join(args.cache, name)
    os.makedirs(d, exist_ok=True)
    return d


def one(args):
    """In the namespaces: --inside PEER_SCENARIO."""
    name, scenario = next((n, s) for n in peer.names() for s in
                          (peer.load(n).scenarios() if args.inside.startswith(n + "_") else ())
                          if "%s_%s" % (n, s.name) == args.inside)
    c = case.Case(args.program, args.dir, args.cgroup)
    r = modes.Run(c, world.World(args.dir, cache_of(args, name), args.golden),
                  scenario, name)
    try:
        return r.golden(GOLDEN) if args.golden else r.run()
    finally:
        c.close()


def prepare(args, r):
    """Builds the chosen peers, says SKIP for those that cannot be; the tests of the others."""
    tests = []
    for name in args.peers or peer.names():
        p = peer.load(name)
        every = args.every or args.peers or args.golden
        scenarios = [s for s in p.scenarios() if re.search(args.pattern, "%s_%s" % (name, s.name))
                     and (s.golden or not args.golden)
                     and (every or (p.QUICK and s.quick) != args.slow)]
        if not scenarios:
            continue
        why = p.missing()
        try:
            if not why and not args.list:
                p.build(cache_of(args, name))
        except Skip as e:
            why = str(e)
        if why:
            r.say("skipped", "SKIP %s: %s" % (name, " ".join(why.split())))
            continue
        tests += [Test(name, s) for s in scenarios]
    return tests


def accept(args, tests):
    """The expected lines of the new golden captures, where they agree with the log."""
    names = [t.name for t in tests if os.path.exists(os.path.join(GOLDEN, t.name + ".pcap"))]
    if not names:
        return 1
    return subprocess.run([os.path.join(GOLDEN, "run.sh"), args.program, *names], check=False,
                          env={**os.environ, "ACCEPT": "1"}).returncode


def main():
    p = argparse.ArgumentParser(description="Real frameworks and proxies as peers of a live capture.")
    runner.add_arguments(p, TOP, "peers")
    p.add_argument("peers", nargs="*", help="folders of tests/peers (default: the quick ones)")
    p.add_argument("--cache", default=os.path.join(TOP, "build", "cache", "peers"))
    p.add_argument("--slow", action="store_true", help="those that are not quick, and only those")
    p.add_argument("--every", action="store_true", help="quick and slow")
    p.add_argument("--golden", action="store_true", help="record golden captures")
    args = p.parse_args()
    args.program, args.out, args.cache = map(os.path.abspath, (args.program, args.out, args.cache))
    options = ["--cache", args.cache] + (["--golden"] if args.golden else [])
    if args.inside:
        net.set_name("peers")
        net.run("ip", "link", "set", "lo", "up")
        return runner.inside(args, lambda: one(args))
    why = None if args.list else runner.usable(args)
    if why:
        print("run.py: " + why, file=sys.stderr)
        return 2
    r = runner.Runner(args, os.path.join(HERE, "run.py"), options)
    if not args.list:
        r.prepare()
    tests = prepare(args, r)
    if args.list:
        print("\n".join(t.name for t in tests))
        return 0
    code = r.run(tests)
    return (args.golden and accept(args, tests)) or code


if __name__ == "__main__":
    sys.exit(main())
