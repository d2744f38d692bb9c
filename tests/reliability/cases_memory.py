# SPDX-License-Identifier: Apache-2.0
"""No memory: killed for it by the kernel (P3), and each allocation of a capture read from a file refused (P4)."""

import os
import re
import shutil
import signal
import subprocess

from kit import capture, net, nomem, proxies
from kit.case import test
from cases_kill import Truth, last_run, spread
from world import TOP, Load

ROUNDS = 6
MIB = 1 << 20


def number(path, name=None):
    """The number in a file of a cgroup, or behind a name in it."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    return int(re.search(r"^%s (\d+)" % name, text, re.M).group(1) if name else text)


def squeeze(limit):
    """The limit follows what is used, so that caches go and nothing more fits."""
    try:
        net.write(os.path.join(limit, "memory.limit_in_bytes"),
                  number(os.path.join(limit, "memory.usage_in_bytes")) - MIB)
    except OSError:
        pass  # nothing of it can be taken back at this moment


def until_killed(cap, limit, step=lambda: None):
    def dead():
        step()
        return cap.proc.poll() is not None
    net.wait_until("the OOM killer", dead, 60, 0.05)
    return cap.proc.returncode


@test(timeout=900)
def P3_killed_for_its_memory(w):
    """Of its own memory cgroup, while the queue grows and while the spool is full: as P2, and the service goes on."""
    limit = w.case.limit("memory")
    broker = w.start(log_calls=True)
    truth = Truth()
    load = Load(1500, 36000, connections=8)
    for n in range(ROUNDS):
        net.write(os.path.join(limit, "memory.limit_in_bytes"), -1 if n % 2 else (3 + n) * MIB)
        cap = w.capture()
        net.enter_cgroup(limit, cap.pid)
        broker.signal(signal.SIGSTOP)
        if n % 2:
            net.wait_until("records in the spool", lambda c=cap: "to the spool" in c.errors() and
                           w.spooled(), 30)
            capture.settle(1 + n / 4)
            broker.signal(signal.SIGCONT)  # reading the spool takes memory
            code = until_killed(cap, limit, lambda: squeeze(limit))
        else:
            code = until_killed(cap, limit)
        w.check(code == -signal.SIGKILL, "it ended with %d: %s" % (code, cap.errors()[-300:]))
        truth.look(w)
        broker.signal(signal.SIGCONT)
    kills = number(os.path.join(limit, "memory.oom_control"), "oom_kill")
    w.check(kills == ROUNDS, "the kernel killed %d times, not %d" % (kills, ROUNDS))
    w.note(oom_kills=kills)
    load.stop()
    failed = [x["status"] for x in proxies.read_calls(w.case.path("nginx/calls.log"), 1000)
              if x["status"] != 200]
    w.check(len(failed) <= 8, "%d requests failed: %s" % (len(failed), failed[:5]))
    w.check(truth.stored, "nothing was in the spool at a kill")
    last_run(w, truth)


CAPTURES = ("connect", "dubbo_hessian2", "grpc_go_streams", "gap_in_a_reply", "kitex_grpc", "dapr_http",
            "chunked_trailers")


def read_file(w, memory, name):
    """(exit code, stderr, exit code of ledger --check) of a golden capture under it."""
    sink = w.case.path("records")
    shutil.rmtree(sink, ignore_errors=True)
    r = subprocess.run([w.case.program, "capture", "-r", os.path.join(TOP, "tests/golden", name + ".pcap"),
                        "-o", "file:" + sink], env={**os.environ, **memory.env}, check=False, text=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    proof = r.returncode == 0 and subprocess.run(
        [w.case.program, "ledger", "-i", "file:" + sink, "--check"], check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    return r.returncode, r.stderr, proof


@test(timeout=3600, each=CAPTURES)
def P4_each_allocation(w, name):
    """Each allocation fails once (--each N: 20 N of them), and one in N by several seeds: an end that is
    said, or a proof."""
    memory = nomem.NoMemory(w.case.directory)
    code, text, proof = read_file(w, memory, name)
    w.check(code == 0 and proof == 0, "with memory: %d, %s" % (code, text))
    total, tried, refused = memory.counts()[0], 0, 0
    whens = [{"first": k} for k in spread(total, 20 * w.args.each or total)]
    # past the start, which ends at about the 200th
    whens += [{"seed": seed, "every": every, "after": 200} for every in (3, 10, 40) for seed in range(5)]
    for when in whens:
        memory.set(**when)
        code, text, proof = read_file(w, memory, name)
        tried += 1
        refused += code != 0
        w.check(code in (0, 1, 2), "with %s it ended with %d: %s" % (when, code, text[-300:]))
        w.check(code == 0 or re.search(r"memory|cannot be proved", text), "with %s: %d, it says %r" % (
            when, code, text))
        w.check(proof in (0, False), "with %s the ledger is not exact: %s" % (when, text[-300:]))
    w.note(allocations=total, tried=tried, said_why=refused)
