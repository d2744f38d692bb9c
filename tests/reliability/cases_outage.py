# SPDX-License-Identifier: Apache-2.0
"""The broker away for long (with a spool that suffices, and one that does not), and a disk that fails (D1, D2, D8)."""

import os
import signal
import subprocess
import time

from kit import capture, net
from kit.case import test
from world import Load, wrapped

RATE = 2000


def sizes(w, cap, seconds):
    """For so long: the greatest that du says of the spool's directory; notes the memory."""
    most, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        most = max(most, w.disk_bytes())
        w.rss(cap)
        time.sleep(0.25)
    return most


def outage(w, spool, limit):
    broker = w.start()
    cap = w.capture(spool=spool)
    seconds = w.args.outage
    load = Load(RATE, seconds + 6)
    time.sleep(2)
    broker.kill()
    most = sizes(w, cap, seconds)
    broker.restart()
    start = time.monotonic()
    most = max(most, sizes(w, cap, 1))
    calls = load.wait()
    w.wait_drained(60 + seconds)
    w.note(calls=calls, spool_mib=round(most / (1 << 20), 1), after_s=round(
        time.monotonic() - start, 1))
    w.check(most <= limit, "du says %d bytes in a spool of %d" % (most, limit))  # D13, F8
    end = w.end(cap)
    w.check(end["calls"] == calls, "%d calls were made, %d captured" % (calls, end["calls"]))
    w.check(w.memory < 128, "RssAnon was %.0f MiB" % w.memory)
    w.quick()
    return calls


@test(timeout=3600)
def K2_outage_with_a_spool_that_suffices(w):
    """Everything arrives, each connection in its order."""
    calls = outage(w, "4GiB", 4 << 30)
    w.order(w.exact(calls))


@test(timeout=3600)
def D10_outage_with_a_spool_that_does_not(w):
    """The ledger says exactly how many left, and which."""
    calls = outage(w, "16MiB", 16 << 20)
    parsed = w.exact(calls, lossless=False)
    records = capture.stage(parsed, "records")["exits"]
    evicted = records.get("spool_evicted", 0)
    w.note(exits=records)
    w.check(evicted > 0, "nothing was evicted: the outage is too short to test that: %s" % records)
    w.check(records["delivered"] + evicted == calls, "the exits are %s" % records)
    there = set().union(*w.order(parsed).values())
    w.check(len(there) == calls - evicted, "%d are there, %d of %d were evicted" % (
        len(there), evicted, calls))
    r = subprocess.run([w.case.program, "ledger", "-i", w.source()], check=False, text=True,
                       stdout=subprocess.PIPE)
    w.check("spool_evicted %d" % evicted in r.stdout, r.stdout)


def on_disk(w, size):
    """The spool on a disk of its own; what undoes it."""
    os.makedirs(w.spool)
    net.run("mount", "-t", "tmpfs", "-o", "size=%s,mode=700" % size, "none", w.spool)
    return lambda: net.run("umount", "-l", w.spool)


def with_broken_disk(w, breaks, mends, names, **how):
    """The broker is away while the disk fails: capture goes on, losses are named, and it resumes."""
    broker = w.start()
    cap = w.capture(spool="256MiB", **how)
    broker.signal(signal.SIGSTOP)
    load = Load(RATE, 24)
    time.sleep(7)  # 5 s without an answer are an outage
    breaks()
    time.sleep(9)
    mends()
    broker.signal(signal.SIGCONT)
    calls = load.wait()
    w.wait_drained(200)
    calls += Load(RATE, 3).wait()
    w.wait_drained(60)
    w.rss(cap)
    if how.get("wrap"):
        os.kill(wrapped(cap), signal.SIGTERM)
        cap.wait(60)
    end = w.end(cap) if cap.proc.poll() is None else {"text": cap.errors()}
    w.check(cap.proc.returncode == 0, "it ended with %s" % cap.proc.returncode)
    parsed = w.exact(calls, lossless=False)
    records = capture.stage(parsed, "records")["exits"]
    w.note(calls=calls, exits=records)
    w.check(set(records) <= {"delivered", "possibly_persisted", *names}, "the exits are %s" % records)
    w.check(sum(records.values()) == calls, "the exits are %s of %d" % (records, calls))
    there = set().union(*w.order(parsed).values())
    w.check(set(range(calls - 3 * RATE // 2, calls + 1)) <= there, "it did not resume")
    w.check(w.memory < 128, "RssAnon was %.0f MiB" % w.memory)
    return records, end["text"]


@test(timeout=300)
def D1_disk_full(w):
    """A spool on a disk of 24 MiB that fills: no_space by name, then room again."""
    undo = on_disk(w, "24m")
    hog = os.path.join(w.spool, "hog")

    def breaks():
        subprocess.run(["dd", "if=/dev/zero", "of=" + hog, "bs=64k"], check=False,
                       stderr=subprocess.DEVNULL)
    try:
        records, _ = with_broken_disk(w, breaks, lambda: os.unlink(hog), {"spool_no_space",
                                                                         "spool_behind"})
        w.check(records.get("spool_no_space", 0) > 0, "nothing was lost: the disk was not full")
    finally:
        undo()


@test(timeout=300)
def D8_disk_read_only(w):
    """The file system is read-only when it starts, and becomes writable during the outage: it says so, and goes on."""
    undo = on_disk(w, "200m")
    net.run("mount", "-o", "remount,ro", w.spool)
    try:
        records, text = with_broken_disk(
            w, lambda: None, lambda: net.run("mount", "-o", "remount,rw", w.spool),
            {"spool_io_error", "spool_behind"})
        w.check("Read-only file system" in text, "it is not said: " + text)
        w.check(records.get("spool_io_error", 0) > 0, "nothing was lost")
    finally:
        undo()


@test(timeout=300)
def D2_disk_slow(w):
    """Each write takes 20 ms and each fsync a second: the loop does not wait; what does not fit leaves by name."""
    records, text = with_broken_disk(
        w, lambda: None, lambda: None, {"spool_behind"},
        wrap=("strace", "-f", "-qq", "--seccomp-bpf", "-o", w.case.path("strace.log"), "-e",
              "trace=writev,fdatasync", "-e", "inject=writev:delay_enter=20000", "-e",
              "inject=fdatasync:delay_enter=1000000"))
    w.turns(text)
    w.check(records.get("spool_behind", 0) > 0, "the disk was not slow: %s" % records)
