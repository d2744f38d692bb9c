# SPDX-License-Identifier: Apache-2.0
"""Faults of the process: memory, descriptors, threads, processor and outputs that are not there."""

import os
import re
import signal
import subprocess

from kit import capture, kafka, net, nomem, oracle, proxies, service, workload
from kit.case import test
from kit.client import Client

PORT = 9080


def get_1k(c, n):
    c.call("GET", ("/1k", "/16k")[n % 8 == 0])


def served(t, load, log):
    """Ends the load; how many calls there were: each was answered with 200 by nginx, as its log says too."""
    n = len(load.stop())
    lines = proxies.read_calls(log, n)
    t.same("calls in nginx's log", n, len(lines))
    t.check(all(x["status"] == 200 for x in lines), "a request failed")
    return n


def reader(t, source):
    """The parsed ledger after --check, and that what it says of records is what can be read."""
    parsed = capture.check_ledger(t, source, lossless=False)
    t.same("calls that can be read", parsed["calls_delivered"], len(capture.export(t, source)))
    return parsed


# --- P4: no memory


def start_without_memory(t, memory, sink, first, count):
    memory.set(first=first, count=count)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), sink=sink, wait=False, env=memory.env)
    net.wait_until("ready, or the end", lambda: os.path.exists(cap.ready) or
                   cap.proc.poll() is not None, 20, 0.002)
    if cap.proc.poll() is None:
        memory.set()
        cap.stop()
    code = cap.proc.returncode
    text = cap.errors().strip()
    t.check(code in (0, 1, 2, 3), "without allocation %d it ended with %d: %s" % (first, code, text))
    t.check(code == 0 or re.search(r"memory|allocate", text), "without allocation %d: %d, and says %r" % (
        first, code, text))
    return code


@test(timeout=240)
def P4_no_memory_at_the_start(t):
    """Each of some allocations of the start fails, alone or with all after it: it starts, or says why."""
    memory = nomem.NoMemory(t.directory)
    t.service(PORT)
    sink = "file:" + t.path("records")
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), sink=sink, env=memory.env)
    total = memory.counts()[0]
    cap.stop()
    t.check(total > 50, "only %d allocations: nothing was tested" % total)
    codes = [start_without_memory(t, memory, sink, first, count)
             for count in (1, 1 << 40) for first in range(1, total + 1, 7)]
    t.check(codes.count(1) > 5, "hardly any start was refused: %s" % codes)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
    cap.stop()
    capture.check_ledger(t, cap.sink)


RATES = ((3, 1), (20, 2), (20, 3), (150, 4), (1000, 5))  # one allocation in so many, seed


def hungry(t, memory, cap, load):
    """At several rates for some hundred calls each."""
    failed = 0
    for every, seed in RATES:
        memory.set(seed=seed, every=every)
        before = load.done()
        net.wait_until("400 calls, one allocation in %d failing" % every, lambda: load.errors or
                       cap.proc.poll() is not None or load.done() > before + 400, 30)
        failed += memory.counts()[1]
        memory.set()
        t.check(cap.proc.poll() is None, "with one allocation in %d failing it ended with %s: %s" % (
            every, cap.proc.returncode, cap.errors()[-300:]))
    t.check(failed > 50, "only %d allocations failed" % failed)


@test(timeout=120)
def P4_no_memory_under_load(t):
    """Every Nth allocation fails: calls are lost by name, and it goes on as if nothing had been."""
    memory = nomem.NoMemory(t.directory)
    log = proxies.nginx(t.path("nginx"), PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), env=memory.env)
    load = workload.Load("127.0.0.1", PORT, 4, get_1k)
    hungry(t, memory, cap, load)
    served(t, load, log)
    before = len(proxies.read_calls(log, 1))
    with Client("127.0.0.1", PORT) as c:
        for _ in range(50):
            c.call("GET", "/1k")
    proxies.read_calls(log, before + 50)
    cap.stop()
    parsed = reader(t, cap.sink)
    t.check(parsed["lost"], "nothing is named although allocations failed")
    calls = {x["call"] for x in c.log}
    there = {oracle.call_of(r) for r in capture.export(t, cap.sink)}
    t.check(calls <= there, "%d of 50 calls made with memory again are missing" % len(calls - there))


@test(timeout=180)
def P4_no_memory_with_a_spool(t):
    """The same with Kafka and a spool that fills and drains meanwhile: what is not in the topic is named."""
    memory = nomem.NoMemory(t.directory)
    broker = kafka.Broker(t.path("broker"))
    kafka.create_topics(broker.bootstrap, 3, "calls", "calls.ledger")
    log = proxies.nginx(t.path("nginx"), PORT)
    spool = t.path("spool")
    source = "kafka://%s/calls" % broker.bootstrap
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--spool", spool, "--spool-size", "4MiB",
                    sink=source, env=memory.env)
    load = workload.Load("127.0.0.1", PORT, 4, get_1k)
    hungry(t, memory, cap, load)
    broker.signal(signal.SIGSTOP)
    net.wait_until("an outage", lambda: "to the spool" in cap.errors(), 30)
    hungry(t, memory, cap, load)
    broker.signal(signal.SIGCONT)
    hungry(t, memory, cap, load)
    served(t, load, log)
    net.wait_until("the spool drained", lambda: "is drained" in cap.errors(), 60)
    cap.stop()
    parsed = reader(t, source)
    t.check(parsed["lost"], "nothing is named although allocations failed")
    t.check(not parsed["lost"].get("spool_corrupt"), "records of a sound disk are called corrupt: %s" % (
        parsed["lost"]))
    broker.stop()
