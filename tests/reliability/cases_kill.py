# SPDX-License-Identifier: Apache-2.0
"""kill -9 of sidetap: at random under load (P2), and at each system call that touches the spool's directory."""

import os
import random
import re
import signal
import time

from kit import capture, kafka, net
from kit.case import Failure, test
from world import Load, spool_entries

KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


class Truth:
    """What was in the spool when a process died: all of it must arrive."""

    def __init__(self):
        self.stored = set()
        self.instances = 0

    def look(self, w):
        if os.path.isdir(w.spool):
            self.stored |= spool_entries(w.spool)

    def check(self, w):
        parsed = w.audit(lossless=False)
        seen = w.order(parsed)
        there = {(i, n) for i, numbers in seen.items() for n in numbers}
        lost = self.stored - there
        w.check(not lost, "%d records were in the spool and never arrived, as %s" % (
            len(lost), sorted(lost)[:3]))
        lost = parsed["lost"]
        w.check(not lost.get("spooled"), "the ledger says %s lost" % lost)
        killed = [i for i in parsed["instances"] if i["killed"]]
        w.note(instances=len(parsed["instances"]), killed=len(killed), lost=lost,
               stored_at_a_kill=len(self.stored), duplicates=parsed["duplicates"])
        return parsed


def last_run(w, truth):
    """Sends what is left, and ends as it should."""
    cap = w.capture()
    w.wait_drained(120)
    w.end(cap)
    w.check(not [n for n in os.listdir(w.spool) if n.endswith(".run")],
            "the ledger of a killed process was not told: %s" % os.listdir(w.spool))
    return truth.check(w)


@test(timeout=7200)
def P2_random_kills(w):
    """N kills at random moments, the broker away in some of them."""
    seed = w.args.seed or int(time.time())
    rng = random.Random(seed)
    w.note(seed=seed, kills=w.args.kills)
    broker = w.start()
    truth = Truth()
    load = Load(1500, 36000, connections=8)
    stopped = False
    for n in range(w.args.kills):
        if stopped != (rng.random() < 0.4):
            stopped = not stopped
            broker.signal(signal.SIGSTOP if stopped else signal.SIGCONT)
        cap = w.capture(wait=False)
        if rng.random() < 0.85:
            net.wait_until("ready", lambda: os.path.exists(cap.ready), 30, 0.002)
        delay = rng.uniform(0, 1.5) if rng.random() < 0.8 else rng.uniform(0, 0.05)
        time.sleep(delay)
        if stopped and rng.random() < 0.5:  # comes back at this moment
            broker.signal(signal.SIGCONT)
            stopped = False
            time.sleep(rng.uniform(0, 1.0))
        if cap.proc.poll() is not None:
            raise Failure("kill %d: it had ended by itself with %s: %s" % (
                n, cap.proc.returncode, cap.errors()[-300:]))
        cap.proc.kill()
        cap.wait()
        truth.look(w)
    if stopped:
        broker.signal(signal.SIGCONT)
    load.stop()
    parsed = last_run(w, truth)
    w.check(sum(i["killed"] for i in parsed["instances"]) >= w.args.kills / 2,
            "hardly any was killed while it ran: the campaign tested nothing")
    w.check(len(truth.stored) > 0 and parsed["calls_delivered"] > 0, "nothing went through the spool")


# Killed as it enters one of these: so on every state of the files that lies between two of their changes. (An open that
# makes a file is followed by an fsync of the directory or by fallocate.) Nobody else in the process uses them.
CALLS = ("writev", "fdatasync", "fsync", "unlinkat", "unlink", "renameat", "ftruncate", "fallocate")


def strace(w, *options):
    return ["strace", "-f", "-qq", "-o", w.case.path("strace.%d.log" % w.case.count),
            "-e", "trace=" + ",".join(CALLS), *options]


def scripted(w, wrap):
    """The broker is away, calls go to the spool, it returns, the spool is sent and removed. False: killed."""
    broker = w.broker
    broker.signal(signal.SIGSTOP)
    stopped = True
    cap = w.capture(spool="64MiB", wrap=wrap, wait=False)
    try:
        net.wait_until("ready", lambda: os.path.exists(cap.ready) or cap.proc.poll() is not None, 30)
        if cap.proc.poll() is None:
            Load(400, 1, connections=4).wait()
        broker.signal(signal.SIGCONT)
        stopped = False
        net.wait_until("drained", lambda: not w.spooled() or cap.proc.poll() is not None, 60, 0.02)
        if cap.proc.poll() is None:
            children = capture_pid(cap)
            os.kill(children, signal.SIGTERM)
        code = cap.wait(60)
    finally:
        if stopped:
            broker.signal(signal.SIGCONT)
    if code not in (0, *KILLED):
        raise Failure("it ended with %d: %s" % (code, cap.errors()[-300:]))
    return code == 0


def capture_pid(cap):
    """Of the program that strace runs."""
    with open("/proc/%d/task/%d/children" % (cap.pid, cap.pid), encoding="utf-8") as f:
        return int(f.read().split()[0])


def count_calls(log):
    """By name, the most of one thread: `when=` counts in each."""
    counts = {}
    with open(log, encoding="utf-8", errors="replace") as f:
        for line in f:
            m = re.match(r"(\d+) +(\w+)\(", line)
            if m:
                counts[m.groups()] = counts.get(m.groups(), 0) + 1
    out = {}
    for (_, name), n in counts.items():
        out[name] = max(out.get(name, 0), n)
    return out


def spread(n, at_most):
    """Of 1 .. n: the first, the last and some between."""
    if n <= at_most:
        return range(1, n + 1)
    return sorted({1 + k * (n - 1) // (at_most - 1) for k in range(at_most)})


@test(timeout=7200)
def D_kill_at_each_system_call(w):
    """Killed at the n-th write, fsync, unlink, rename, allocation in the spool's directory; then started again."""
    w.start()
    truth = Truth()
    os.makedirs(w.spool, 0o700)
    log = "strace.%d.log" % w.case.count
    w.check(scripted(w, strace(w)), "it was killed although nobody did")
    counts = count_calls(w.case.path(log))
    w.note(system_calls=counts)
    missing = set(CALLS) - set(counts) - {"ftruncate"}  # that one is a full disk's
    w.check(not missing, "the script never reaches %s" % missing)
    kills = 0
    for name, n in sorted(counts.items()):
        for when in spread(n, w.args.each or n):
            wrap = strace(w, "-e", "inject=%s:signal=KILL:when=%d" % (name, when))
            killed = not scripted(w, wrap)
            kills += killed
            truth.look(w)
    w.note(kills_at_system_calls=kills)
    w.check(kills >= len(counts), "only %d kills" % kills)
    last_run(w, truth)
