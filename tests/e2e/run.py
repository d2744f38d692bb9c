#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""
End-to-end tests with real software. Each test runs in namespaces and a cgroup of its own; what a failed
one left stands in build/e2e/NAME.

  run.py [-k PATTERN] [--slow] [--program build/sidetap] [--jobs 2] [--list]
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from kit import case, net  # noqa: E402
from kit.capture import Failure, Skip  # noqa: E402

SKIPPED = 77


def load_cases():
    for name in sorted(os.listdir(HERE)):
        if name.startswith("cases_") and name.endswith(".py"):
            __import__(name[:-3])


def inside(args):
    """In the namespaces: runs one test; the verdict's text goes to a file."""
    net.set_name("e2e")
    t = case.TESTS[args.inside]
    c = case.Case(args.program, args.dir, args.cgroup)
    code, why = 1, ""
    try:
        t.function(c, *t.args)
        if t.ledger and not c.ledger_checked:
            raise Failure("the test never saw `ledger --check` succeed")
        code = 0
    except Skip as e:
        code, why = SKIPPED, str(e)
    except Failure as e:
        why = str(e)
        traceback.print_exc()
    except Exception as e:
        why = "%s: %s" % (type(e).__name__, e)
        traceback.print_exc()
    finally:
        c.close()
    with open(os.path.join(args.dir, "verdict"), "w", encoding="utf-8") as f:
        f.write(" ".join(why.split()))
    return code


class Runner:
    def __init__(self, args):
        self.args = args
        self.lock = threading.Lock()
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        mount = net.cgroup2_mount()
        # A copy: a build that goes on meanwhile must not change what is tested.
        self.program = os.path.join(args.out, "sidetap")
        self.top = mount and os.path.join(mount, "sidetap-e2e-%d" % os.getpid())

    def say(self, kind, line, seconds):
        with self.lock:
            self.counts[kind] += 1
            print(line, flush=True)
            with open(os.path.join(self.args.out, "times.txt"), "a", encoding="utf-8") as f:
                f.write("%6.1f s  %s\n" % (seconds, line))

    def one(self, t):
        directory = os.path.join(self.args.out, t.name)
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        cgroup = os.path.join(self.top, t.name)
        os.makedirs(cgroup)
        start = time.monotonic()
        code = self.run_inside(t, directory, cgroup)
        seconds = time.monotonic() - start
        net.remove_cgroups(cgroup)
        why = "no verdict"
        if os.path.exists(os.path.join(directory, "verdict")):
            with open(os.path.join(directory, "verdict"), encoding="utf-8") as f:
                why = f.read()
        if code == 0:
            self.say("passed", "ok %s" % t.name, seconds)
        elif code == SKIPPED:
            self.say("skipped", "SKIP %s: %s" % (t.name, why), seconds)
        elif code is None:
            self.say("failed", "not ok %s: not done within %d s" % (t.name, t.timeout), seconds)
        else:
            self.say("failed", "not ok %s: %s" % (t.name, why), seconds)
        if code in (0, SKIPPED) and not self.args.keep:
            shutil.rmtree(directory, ignore_errors=True)

    def run_inside(self, t, directory, cgroup):
        """The exit code; None: over its time."""
        argv = ["unshare", "-n", "-p", "-m", "-f", "--mount-proc", "--kill-child",
                "/usr/bin/python3", "-B", os.path.join(HERE, "run.py"), "--inside", t.name,
                "--dir", directory, "--program", self.program, "--cgroup", cgroup]
        with open(os.path.join(directory, "log"), "wb") as log:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=subprocess.STDOUT,
                                 preexec_fn=lambda: net.enter_cgroup(cgroup))
            try:
                return p.wait(t.timeout)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                return None

    def run(self, tests):
        os.makedirs(self.args.out, exist_ok=True)
        shutil.copy(self.args.program, self.program)
        if os.path.exists(os.path.join(self.args.out, "times.txt")):
            os.unlink(os.path.join(self.args.out, "times.txt"))
        if self.top is None:
            raise SystemExit("no cgroup v2 is mounted")
        os.mkdir(self.top)
        try:
            with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
                list(pool.map(self.one, [t for t in tests if not t.alone]))
            for t in tests:
                if t.alone:
                    self.one(t)
        finally:
            net.remove_cgroups(self.top)
        print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % self.counts)
        return 1 if self.counts["failed"] else 0


def main():
    p = argparse.ArgumentParser(description="End-to-end tests of sidetap with real software.")
    p.add_argument("-k", dest="pattern", default="", help="only tests whose name matches")
    p.add_argument("--program", default=os.path.join(TOP, "build", "sidetap"))
    p.add_argument("--out", default=os.path.join(TOP, "build", "e2e"))
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--keep", action="store_true", help="keep the files of passed tests too")
    p.add_argument("--slow", action="store_true", help="the long campaigns, and only those")
    p.add_argument("--list", action="store_true")
    for hidden in ("--inside", "--dir", "--cgroup"):
        p.add_argument(hidden, help=argparse.SUPPRESS)
    args = p.parse_args()
    args.program = os.path.abspath(args.program)
    args.out = os.path.abspath(args.out)
    load_cases()
    if args.inside:
        net.run("ip", "link", "set", "lo", "up")
        return inside(args)
    tests = [t for t in case.TESTS.values() if re.search(args.pattern, t.name) and t.slow == args.slow]
    if args.list:
        print("\n".join(t.name for t in tests))
        return 0
    if not os.access(args.program, os.X_OK):
        print("run.py: %s is not there: run make" % args.program, file=sys.stderr)
        return 2
    if os.geteuid():
        print("run.py: needs root (namespaces, cgroups, BPF)", file=sys.stderr)
        return 2
    return Runner(args).run(tests)


if __name__ == "__main__":
    sys.exit(main())
