# SPDX-License-Identifier: Apache-2.0
"""Runs tests one by one or side by side, each in namespaces and a cgroup of its own."""

import concurrent.futures
import os
import shutil
import subprocess
import threading
import time
import traceback

from . import net
from .capture import Failure, Skip

SKIPPED = 77


def add_arguments(p, top, out):
    """The options that Runner and inside() read."""
    p.add_argument("-k", dest="pattern", default="", help="only tests whose name matches")
    p.add_argument("--program", default=os.path.join(top, "build", "sidetap"))
    p.add_argument("--out", default=os.path.join(top, "build", out))
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--keep", action="store_true", help="keep the files of passed tests too")
    p.add_argument("--list", action="store_true")
    for hidden in ("--inside", "--dir", "--cgroup"):
        p.add_argument(hidden, help="(used by the program itself)")


def inside(args, function):
    """In the namespaces: function() runs one test; the verdict's text goes to a file."""
    code, why = 1, ""
    try:
        why = function() or ""
        code = 0
    except Skip as e:
        code, why = SKIPPED, str(e)
    except Failure as e:
        why = str(e)
        traceback.print_exc()
    except Exception as e:
        why = "%s: %s" % (type(e).__name__, e)
        traceback.print_exc()
    with open(os.path.join(args.dir, "verdict"), "w", encoding="utf-8") as f:
        f.write(" ".join(why.split()))
    return code


class Runner:
    """script: is run again with `--inside NAME` in the namespaces, plus these options."""

    def __init__(self, args, script, options=()):
        self.args, self.script, self.options = args, script, list(options)
        self.lock = threading.Lock()
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        mount = net.cgroup2_mount()
        # A copy: a build that goes on meanwhile must not change what is tested.
        self.program = os.path.join(args.out, "sidetap")
        self.top = mount and os.path.join(mount, "sidetap-%s-%d" % (
            os.path.basename(args.out), os.getpid()))

    def say(self, kind, line, seconds=0):
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
            self.say("passed", "ok %s%s" % (t.name, why and " # " + why), seconds)
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
                "/usr/bin/python3", "-B", self.script, "--inside", t.name,
                "--dir", directory, "--program", self.program, "--cgroup", cgroup, *self.options]
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

    def prepare(self):
        """Before say() and run()."""
        os.makedirs(self.args.out, exist_ok=True)
        shutil.copy(self.args.program, self.program)
        if os.path.exists(os.path.join(self.args.out, "times.txt")):
            os.unlink(os.path.join(self.args.out, "times.txt"))

    def run(self, tests):
        """The program's exit code."""
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


def usable(args):
    """None, or why nothing can run here."""
    if not os.access(args.program, os.X_OK):
        return "%s is not there: run make" % args.program
    if os.geteuid():
        return "needs root (namespaces, cgroups, BPF)"
    return None
