# SPDX-License-Identifier: Apache-2.0
"""What a test function gets: its directory, its cgroup, the program, and the usual steps."""

import os

from . import capture, net, oracle, service
from .capture import Capture, Failure, Skip

TESTS = {}


class Test:
    def __init__(self, name, function, timeout, alone, ledger, slow, args):
        self.name, self.function, self.timeout = name, function, timeout
        self.alone, self.ledger, self.slow, self.args = alone, ledger, slow, args


def test(timeout=60, alone=False, ledger=True, slow=False, each=None):
    """
    Registers a test under its function's name. each: one test per value, with the value as second
    argument. ledger: it must have seen `ledger --check` succeed. alone: not beside another test. slow: only
    with --slow.
    """
    def register(function):
        for value in each or [None]:
            name = function.__name__ + ("" if value is None else "_" + value)
            if name in TESTS:
                raise ValueError("two tests are called " + name)
            TESTS[name] = Test(name, function, timeout, alone, ledger, slow,
                               () if value is None else (value,))
        return function
    return register


class Case:
    def __init__(self, program, directory, cgroup):
        self.program, self.directory, self.cgroup = program, directory, cgroup
        self.count = 0
        self.captures, self.limits = [], []
        self.ledger_checked = False

    def path(self, name):
        return os.path.join(self.directory, name)

    def new_cgroup(self, name, parent=None):
        d = os.path.join(parent or self.cgroup, name)
        os.mkdir(d)
        return d

    def limit(self, controller, **values):
        """A new cgroup of a controller with these settings (pids_max=1: pids.max); its directory."""
        mount = net.controller_mount(controller)
        if not mount:
            raise Skip("no %s controller of cgroup v1 here" % controller)
        d = os.path.join(mount, "%s-%s" % (os.path.basename(os.path.dirname(self.cgroup)),
                                           os.path.basename(self.cgroup)))
        os.mkdir(d)
        self.limits.append(d)
        for name, value in values.items():
            net.write(os.path.join(d, name.replace("_", ".", 1)), value)
        return d

    def attach(self, back_end):
        """The --attach value of a back end for all that this test runs."""
        return "cgroup:" + self.cgroup if back_end == "cgroup" else back_end

    def service(self, port, host="127.0.0.1", cgroup=None, netns=None, name="svc",
                proxy_protocol=False, options=()):
        """Starts the Python service; the path of its log."""
        log = self.path("%s-%d.log" % (name, port))
        open(log, "w", encoding="utf-8").close()
        self.service_child = net.fork(name, lambda fd: service.run(
            host, port, log, fd, proxy_protocol, options), cgroup, netns, wait_ready=True)
        return log

    def capture(self, *options, sink="file", redact=False, **how):
        """sink "file": a new directory of this test. The running Capture."""
        if sink == "file":
            sink = "file:" + self.path("records-%d" % self.count)
        options = list(options) + ([] if redact else ["--no-redact"])
        return Capture(self, options, sink, **how)

    def finish(self, cap, log, lossless=True, source=None, **how):
        """Stops, exports, compares, checks the ledger. The records."""
        if cap.proc.poll() is None:
            cap.stop()
        elif cap.proc.returncode:
            raise Failure("capture ended by itself with %d: %s" % (cap.proc.returncode,
                                                                   cap.errors()[-300:]))
        source = source or cap.sink
        parsed = capture.check_ledger(self, source, lossless=lossless)
        records = capture.export(self, source)
        oracle.match(log, records, **how)
        if parsed["calls_delivered"] != len(records):
            raise Failure("the ledger says %d calls delivered, %d were read" % (
                parsed["calls_delivered"], len(records)))
        return records

    def fail(self, text):
        raise Failure(text)

    def skip(self, text):
        raise Skip(text)

    def check(self, condition, text):
        if not condition:
            raise Failure(text)

    def same(self, what, expected, seen):
        if expected != seen:
            raise Failure("%s is %.200r, not %.200r" % (what, seen, expected))

    def close(self):
        for c in self.captures:
            c.reap()
        for d in self.limits:
            net.remove_cgroups(d)
