# SPDX-License-Identifier: Apache-2.0
"""Faults of the process: memory, descriptors, threads, processor and outputs that are not there."""

import os
import re
import signal
import socket
import subprocess

from kit import capture, kafka, net, nomem, oracle, proxies, service, workload
from kit.case import test
from kit.client import Client

PORT = 9080


def get_1k(c, n):
    c.call("GET", ("/1k", "/16k")[n % 8 == 0])


def answered(t, log, n):
    """So many calls in all were answered by nginx, each with 200."""
    lines = proxies.read_calls(log, n)
    t.same("calls in nginx's log", n, len(lines))
    t.check(all(x["status"] == 200 for x in lines), "a request failed")
    return n


def served(t, load, log):
    """Ends the only load; how many calls there were."""
    return answered(t, log, len(load.stop()))


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


def hungry(t, memory, cap):
    """At several rates for some hundred calls each, on new connections; how many calls."""
    calls = failed = 0
    for every, seed in RATES:
        memory.set(seed=seed, every=every)
        load = workload.Load("127.0.0.1", PORT, 6, get_1k)
        net.wait_until("400 calls, one allocation in %d failing" % every, lambda: load.errors or
                       cap.proc.poll() is not None or load.done() > 400, 30)
        calls += len(load.stop())
        failed += memory.counts()[1]
        memory.set()
        t.check(cap.proc.poll() is None, "with one allocation in %d failing it ended with %s: %s" % (
            every, cap.proc.returncode, cap.errors()[-300:]))
    t.check(failed > 20, "only %d allocations failed" % failed)
    return calls


@test(timeout=120)
def P4_no_memory_under_load(t):
    """Every Nth allocation fails: calls are lost by name, and it goes on as if nothing had been."""
    memory = nomem.NoMemory(t.directory)
    log = proxies.nginx(t.path("nginx"), PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), env=memory.env)
    before = answered(t, log, hungry(t, memory, cap))
    with Client("127.0.0.1", PORT) as c:
        for _ in range(50):
            c.call("GET", "/1k")
    answered(t, log, before + 50)
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
    calls = hungry(t, memory, cap)
    broker.signal(signal.SIGSTOP)
    load = workload.Load("127.0.0.1", PORT, 4, get_1k)
    net.wait_until("an outage", lambda: "to the spool" in cap.errors(), 30)
    calls += len(load.stop()) + hungry(t, memory, cap)
    broker.signal(signal.SIGCONT)
    answered(t, log, calls + hungry(t, memory, cap))
    net.wait_until("the spool drained", lambda: "is drained" in cap.errors(), 60)
    cap.stop()
    parsed = reader(t, source)
    t.check(parsed["lost"], "nothing is named although allocations failed")
    t.check(not {"spool_corrupt", "spool_io_error"} & set(parsed["lost"]), "a sound disk is blamed: %s" % (
        parsed["lost"]))
    broker.stop()


# --- P5: no descriptor


def cpu_share(pid, seconds):
    """Of one processor, over so long."""
    before = capture.cpu_seconds(pid)
    capture.settle(seconds)
    return (capture.cpu_seconds(pid) - before) / seconds


def descriptors(pid, n):
    net.run("prlimit", "--pid", str(pid), "--nofile=%d:" % n)


def callers(path, n):
    """Clients that connect to a UNIX socket and say nothing."""
    out = []
    for _ in range(n):
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(False)
        s.connect_ex(path)
        out.append(s)
    return out


@test(timeout=120)
def P5_few_descriptors_at_the_start(t):
    """From none to enough: a line that says so, or a capture that works."""
    t.service(PORT)
    worked = 0
    for back_end in (t.attach("cgroup"), "socket", "pcap"):
        for n in (4, 7, 10, 13, 16, 18, 20, 24, 28, 30, 32, 36, 40):
            cap = t.capture("-p", str(PORT), "-a", back_end, "--metrics", "unix:" + t.path("metrics"),
                            "--socket", t.path("ctl"), wrap=("prlimit", "--nofile=%d" % n), wait=False)
            net.wait_until("attached, or the end", lambda c=cap: "attached:" in c.errors() or
                           c.proc.poll() is not None, 20)
            if cap.proc.poll() is not None:
                t.check(cap.proc.returncode in (1, 2, 3), "with %d: %d" % (n, cap.proc.returncode))
                t.check(re.search("open files|file descriptor", cap.errors()), "with %d %s says %r" % (
                    n, back_end, cap.errors()))
                continue
            net.wait_until("ready, or why not", lambda c=cap: os.path.exists(c.ready) or
                           c.ready in c.errors(), 20)
            with Client("127.0.0.1", PORT) as c:
                c.call("GET", "/echo")
            cap.stop()
            capture.check_ledger(t, cap.sink)
            t.same("records with %d" % n, 1, len(capture.export(t, cap.sink)))
            worked += 1
    t.check(worked > 3, "hardly any capture worked")


@test(timeout=90, each=["cgroup", "socket", "pcap"])
def P5_no_descriptor_left(t, back_end):
    """While it runs: callers that it cannot accept do not make it spin, what it is attached to is not taken for gone."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end), "--metrics", "unix:" + t.path("metrics"),
                    "--socket", t.path("ctl"))
    descriptors(cap.pid, 3)
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
    waiting = callers(t.path("ctl"), 3) + callers(t.path("metrics"), 3)
    share = cpu_share(cap.pid, 3)
    t.check(share < 0.3, "it takes %d %% of a processor while callers wait" % (100 * share))
    with Client("127.0.0.1", PORT) as c:
        for n in range(50):
            c.call("GET", "/bytes?n=%d" % n)
    descriptors(cap.pid, 1024)
    for s in waiting:
        s.close()
    net.wait_until("ctl to be answered", lambda: subprocess.run(
        [t.program, "ctl", "status", "--socket", t.path("ctl")], check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0, 10, 0.2)
    t.check("is gone" not in cap.errors(), "it detached: " + cap.errors())
    t.finish(cap, service.read_log(log))


@test(timeout=120)
def P5_no_descriptor_with_a_spool(t):
    """No descriptor for a segment while the broker is away: it is tried again, nothing is lost or named."""
    broker = kafka.Broker(t.path("broker"))
    kafka.create_topics(broker.bootstrap, 3, "calls", "calls.ledger")
    log = t.service(PORT)
    source = "kafka://%s/calls" % broker.bootstrap
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--spool", t.path("spool"), sink=source)
    descriptors(cap.pid, 3)
    broker.signal(signal.SIGSTOP)

    def call_some():
        with Client("127.0.0.1", PORT) as c:
            for n in range(40):
                c.call("GET", "/bytes?n=%d" % (n * 30))
    call_some()
    net.wait_until("an outage", lambda: "to the spool" in cap.errors(), 30)
    call_some()
    share = cpu_share(cap.pid, 3)
    t.check(share < 0.3, "it takes %d %% of a processor" % (100 * share))
    t.check(not any(n.endswith(".spool") for n in os.listdir(t.path("spool"))), "a segment is there")
    descriptors(cap.pid, 1024)
    broker.signal(signal.SIGCONT)
    net.wait_until("the spool drained", lambda: "is drained" in cap.errors(), 60)
    t.finish(cap, service.read_log(log), source=source)
    broker.stop()


# --- P6: no thread, no fork


@test(timeout=120)
def P6_no_thread_at_the_start(t):
    """A pids limit of 1 and more: a line that says so, or a capture that works, if only into its spool."""
    t.service(PORT)
    limit = t.limit("pids")
    mock = kafka.Mock("calls", "calls.ledger")
    kafka_sink = "kafka://%s/calls" % mock.bootstrap
    worked = []
    for sink in ("file", kafka_sink, kafka_sink + "&spool"):
        for n in (1, 2, 3, 4, 5, 10):
            net.write(os.path.join(limit, "pids.max"), n)
            options = ["--spool", t.path("spool")] if sink.endswith("spool") else []
            cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), *options,
                            sink=sink.partition("&")[0], cgroup=limit, wait=False)
            net.wait_until("ready, or the end", lambda c=cap: os.path.exists(c.ready) or
                           c.proc.poll() is not None, 40)
            if cap.proc.poll() is not None:
                t.check(cap.proc.returncode in (1, 2, 3), "with %d: %d" % (n, cap.proc.returncode))
                t.check(re.search("thread|Resource temporarily", cap.errors()), "with %d %s says %r" % (
                    n, sink, cap.errors()))
                continue
            with Client("127.0.0.1", PORT) as c:
                c.call("GET", "/echo")
            cap.stop(seconds=60)
            worked.append(sink)
            if not options:
                capture.check_ledger(t, cap.sink)
    t.same("sinks that worked with some limit", 3, len(set(worked)))
    net.write(os.path.join(limit, "pids.max"), "max")
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--spool", t.path("spool"),
                    sink=kafka_sink, cgroup=limit)
    net.wait_until("the spool to be empty", lambda: not any(
        n.endswith(".spool") for n in os.listdir(t.path("spool"))), 30)
    cap.stop()
    parsed = capture.check_ledger(t, kafka_sink)
    t.same("calls in the topic", len([s for s in worked if s != "file"]), parsed["calls_delivered"])
    mock.close()


@test(timeout=60)
def P6_no_fork_in_steady_state(t):
    """Under load for some seconds: no process and no thread is made."""
    strace = proxies.need("strace")
    t.service(PORT)
    mock = kafka.Mock("calls", "calls.ledger")
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--spool", t.path("spool"), "--metrics",
                    "unix:" + t.path("metrics"), sink="kafka://%s/calls" % mock.bootstrap)
    threads = sorted(os.listdir("/proc/%d/task" % cap.pid))
    seen = t.path("strace.log")
    tracer = subprocess.Popen([strace, "-f", "-qq", "-o", seen, "-e",
                               "trace=fork,vfork,clone,clone3,execve,read", "-p", str(cap.pid)],
                              preexec_fn=net.die_with_parent)
    net.wait_until("strace", lambda: os.path.exists(seen) and os.path.getsize(seen) > 0, 10)
    load = workload.Load("127.0.0.1", PORT, 4, lambda c, n: c.call("GET", "/bytes?n=%d" % (n % 2000)))
    net.wait_until("1,000 calls", lambda: load.done() > 1000 or load.errors, 30)
    capture.settle(2)
    load.stop()
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    with open(seen, encoding="utf-8", errors="replace") as f:
        made = [line for line in f if re.search(r"(fork|clone3?|execve)\(", line)]
    t.check(not made, "it made %d: %s" % (len(made), made[:2]))
    t.same("threads", threads, sorted(os.listdir("/proc/%d/task" % cap.pid)))
    cap.stop()
    capture.check_ledger(t, cap.sink)
    mock.close()


# --- P8: hardly any processor


def burn(ready):
    os.write(ready, b"1")
    while True:
        pass


def starved(t, starve, feed):
    """Small rings and a load that takes no notice: bytes that were lost are counted, to the byte."""
    log = proxies.nginx(t.path("nginx"), PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--ring-size", "16KiB,64KiB")
    starve(cap.pid)
    load = workload.Load("127.0.0.1", PORT, 4, get_1k)
    net.wait_until("2,500 calls", lambda: load.done() > 2500 or load.errors, 60)
    n = served(t, load, log)
    feed(cap.pid)
    cap.stop(seconds=60)
    parsed = reader(t, cap.sink)
    probe, payload = (capture.stage(parsed, name) for name in ("probe", "ring_payload"))
    t.check(probe["exits"]["ring_full"] > 0, "nothing was lost: it was not starved")
    t.check(parsed["lost"] and parsed["calls_delivered"] < n, "the ledger names no loss")
    capture.check_ledger_says_no(t, cap.sink)
    wire = sum(x["request_wire"] + x["response_wire"] for x in proxies.read_calls(log, n))
    lost = capture.stage(parsed, "probe_bytes")["exits"]["ring_full"]
    t.check(0 <= wire - payload["in"] <= lost, "%d bytes were on the wire, %d came, %d with their headers are "
            "counted as lost" % (wire, payload["in"], lost))
    return "%d of %d calls there, %d packets ring_full" % (parsed["calls_delivered"], n,
                                                           probe["exits"]["ring_full"])


@test(alone=True, timeout=120)
def P8_idle_beside_busy_loops(t):
    """SCHED_IDLE, and each processor is taken by somebody else."""
    busy = []

    def starve(pid):
        for task in os.listdir("/proc/%d/task" % pid):
            net.run("chrt", "--idle", "--pid", "0", task)
        busy.extend(net.fork("busy", burn, wait_ready=True) for _ in range(2 * os.cpu_count()))

    def feed(_):
        for b in busy:
            b.kill()
            b.wait()
    return starved(t, starve, feed)


@test(alone=True, timeout=120)
def P8_one_percent_of_a_processor(t):
    """A quota of 1 %."""
    limit = t.limit("cpu", cpu_cfs_period_us=100000, cpu_cfs_quota_us=1000)
    return starved(t, lambda pid: net.enter_cgroup(limit, pid),
                   lambda _: net.write(os.path.join(limit, "cpu.cfs_quota_us"), -1))


# --- P10: outputs that are not there (closed stdout and stderr, an unread stderr: cases_run.py)


def some_calls(n=50):
    with Client("127.0.0.1", PORT) as c:
        for k in range(n):
            c.call("GET", "/bytes?n=%d" % k)


def full_disk(t):
    """A file on a file system that is full."""
    net.run("mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt")
    with open("/mnt/log", "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass
    return open("/mnt/log", "ab", buffering=0)


@test(each=["file", "kafka"])
def P10_log_on_a_full_disk(t, sink):
    """stdout and stderr are files on a full disk: it starts, records are delivered, it ends as it should."""
    log = t.service(PORT)
    mock = kafka.Mock("calls", "calls.ledger")
    with full_disk(t) as f:
        cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--log-format", "json", stdout=f,
                        wrap=["sh", "-c", 'exec "$@" 2>&1', "sh"],
                        sink="file" if sink == "file" else "kafka://%s/calls" % mock.bootstrap)
        some_calls()
        t.finish(cap, service.read_log(log))
    t.check(os.path.getsize("/mnt/log") <= 65536, "the disk was not full")
    mock.close()


@test()
def P10_all_closed_with_kafka(t):
    """No descriptor of a connection is mistaken for a standard one: what is in the topic is records only."""
    log = t.service(PORT)
    mock = kafka.Mock("calls", "calls.ledger")
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), sink="kafka://%s/calls" % mock.bootstrap,
                    wrap=["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh"])
    some_calls()
    t.finish(cap, service.read_log(log))
    mock.close()


@test(ledger=False, each=["closed", "full"])
def P10_print_without_stdout(t, kind):
    """Lines for a stdout that is closed, or on a full disk: one that says so, exit code 1, and no other file has them."""
    t.service(PORT)
    wrap = {"closed": 'exec "$@" 1>&-', "full": 'exec "$@" 1>/dev/full'}[kind]
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), sink="print:", wrap=["sh", "-c", wrap, "sh"])
    some_calls(3)
    t.same("exit code", 1, cap.wait(10))
    t.check(re.search("print: stdout: ", cap.errors()), "it does not say why: " + cap.errors())


@test(ledger=False)
def P10_print_that_nobody_reads(t):
    """stdout is a pipe, open and never read: the loop goes on, the service too, and what was not read is named."""
    log = proxies.nginx(t.path("nginx"), PORT)
    r, w = os.pipe()
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "-x", "--socket", t.path("ctl"),
                    sink="print:", stdout=w)
    os.close(w)
    load = workload.Load("127.0.0.1", PORT, 4, get_1k)
    net.wait_until("2,000 calls", lambda: load.done() > 2000 or load.errors, 60)
    served(t, load, log)
    net.run(t.program, "ctl", "status", "--socket", t.path("ctl"))
    t.check(cpu_share(cap.pid, 2) < 0.5, "it spins")
    cap.proc.send_signal(signal.SIGTERM)
    code = cap.wait(30)
    t.check(code in (0, 1), "it ended with %d: %s" % (code, cap.errors()))
    t.check(re.search(r"lost: .*records\.\w+ \d+ records", cap.errors()), "no loss is named: " + cap.errors())
    os.close(r)


# --- P13: a small stack, little address space


@test(timeout=120, each=["hard", "soft"])
def P13_small_stack(t, kind):
    """ulimit -s 64: each sink, under load, with compression and a spool."""
    t.service(PORT)
    mock = kafka.Mock("calls", "calls.ledger")
    source = "kafka://%s/calls" % mock.bootstrap
    limit = "--stack=65536" + (":" if kind == "soft" else "")
    for sink, options in (("file", []), (source, ["--spool", t.path("spool")])):
        cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--metrics", "unix:" + t.path("metrics"),
                        *options, sink=sink, wrap=("prlimit", limit))
        workload.odd_calls("127.0.0.1", PORT, [])
        load = workload.Load("127.0.0.1", PORT, 4, lambda c, n: c.call("GET", "/bytes?n=%d" % (n % 5000)))
        net.wait_until("600 calls", lambda: load.done() > 600 or load.errors, 30)
        n = len(load.stop())
        cap.stop()
        parsed = capture.check_ledger(t, cap.sink)
        t.check(parsed["calls_delivered"] >= n, "%d of %d calls" % (parsed["calls_delivered"], n))
    mock.close()


@test(timeout=120)
def P13_little_address_space(t):
    """RLIMIT_AS from hardly anything to enough: a line that says so, or a capture that works."""
    t.service(PORT)
    mock = kafka.Mock("calls", "calls.ledger")
    worked = 0
    for sink in ("file", "kafka://%s/calls" % mock.bootstrap):
        for mib in (10, 30, 40, 60, 100, 120, 160, 300, 600):
            cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), sink=sink, wait=False,
                            wrap=("prlimit", "--as=%d" % (mib << 20)))
            net.wait_until("ready, or the end", lambda c=cap: os.path.exists(c.ready) or
                           c.proc.poll() is not None, 20)
            if cap.proc.poll() is not None:
                t.check(cap.proc.returncode in (1, 2, 3, 127), "with %d MiB %s ended with %d: %s" % (
                    mib, sink, cap.proc.returncode, cap.errors()))
                t.check(re.search("memory|map segment|thread|Resource temporarily", cap.errors()),
                        "with %d MiB it says %r" % (mib, cap.errors()))
                continue
            some_calls(5)
            cap.proc.send_signal(signal.SIGTERM)
            code = cap.wait(30)
            if code == 1 and "cannot be proved complete" in cap.errors():
                continue
            t.same("exit code with %d MiB" % mib, 0, code)
            capture.check_ledger(t, cap.sink, lossless=mib > 200)
            worked += 1
    t.check(worked >= 4, "hardly any capture worked")
    mock.close()
