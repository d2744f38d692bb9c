#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""
Benchmarks beside tcpdump and GoReplay on the same workload: nginx (one worker), replies of 1 KiB and
16 KiB, on loopback in a namespace of their own. Variants are interleaved; figures are medians with the
least and the greatest. Writes a report in markdown.

  run.py [--full] [--program build/sidetap] [--out build/bench/report.md]
         [--only stages|fixed|saturated|sampling|budget|probe|memory|kafka]
"""

import argparse
import collections
import ctypes
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
sys.dont_write_bytecode = True

from kit import kafka, net, proxies  # noqa: E402
from kit.capture import Skip, cpu_seconds, settle  # noqa: E402

PORT = 9080
WORK = "/mnt"  # a tmpfs of this process's mount namespace
WORKLOADS = {"1 KiB": ("/1k", 20000), "16 KiB": ("/16k", 5000)}
FIXED_CONNECTIONS, SATURATED_CONNECTIONS = 16, 16
OVERLOADED_US = 50000
GOREPLAY = "github.com/buger/goreplay@v1.3.2"
BPF_ENABLE_STATS, BPF_STATS_RUN_TIME = 32, 0
BPF_NR = {"x86_64": 321, "aarch64": 280}


def say(text):
    print(text, file=sys.stderr, flush=True)


def status_kib(pid, field):
    with open("/proc/%d/status" % pid, encoding="utf-8") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


# --- the tools


class Tool:
    """Something that watches the traffic. figures: what it says it saw, as a share of the calls made."""

    def __init__(self, name):
        self.name = name
        self.proc = None

    def spawn(self, argv, out="out"):
        self.out = os.path.join(WORK, "tool." + out)
        self.log = open(self.out, "wb")
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log,
                                     stderr=self.log, preexec_fn=net.die_with_parent, cwd=WORK)

    def wait_for(self, what, condition):
        net.wait_until("%s: %s" % (self.name, what),
                       lambda: condition() or self.proc.poll() is not None, 20)
        if self.proc.poll() is not None:
            raise RuntimeError("%s ended: %s" % (self.name, read(self.out)[-300:]))

    def start(self):
        pass

    def stop(self):
        """Ends it; (share captured or None, what it says of losses)."""
        if self.proc is None:
            return None, ""
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(60)
        self.log.close()
        return self.judge(read(self.out))

    def judge(self, _text):
        return None, ""


class Nothing(Tool):
    pass


class Sidetap(Tool):
    def __init__(self, name, program, sink, attach="auto", options=()):
        super().__init__(name)
        self.program, self.sink, self.attach, self.options = program, sink, attach, options
        self.run = 0

    def start(self):
        self.run += 1
        ready = os.path.join(WORK, "ready")
        if os.path.exists(ready):
            os.unlink(ready)
        self.spawn([self.program, "capture", "-p", str(PORT), "-a", self.attach, "-o",
                    self.sink(self.run), "--ready-file", ready, *self.options])
        self.wait_for("ready", lambda: os.path.exists(ready))

    def judge(self, text):
        found = re.search(r"(\d+) calls in", text)
        delivered = re.search(r"(\d+) of (\d+) records delivered", text)
        lost = re.search(r"lost: (.*)", text)
        if not found or not delivered:
            raise RuntimeError("%s: no summary in %r" % (self.name, text[-300:]))
        return int(delivered.group(1)), "" if not lost or "nothing" in lost.group(1) else (
            lost.group(1))


class Tcpdump(Tool):
    def start(self):
        self.spawn([proxies.need("tcpdump"), "-i", "lo", "-s", "0", "-B", "65536", "-Z", "root",
                    "-w", "/dev/null", "tcp port %d" % PORT])
        self.wait_for("listening", lambda: "listening on" in read(self.out))
        settle(0.3)

    def judge(self, text):
        dropped = re.search(r"(\d+) packets? dropped by kernel", text)
        received = re.search(r"(\d+) packets? received by filter", text)
        return None, "%s of %s packets dropped" % (dropped and dropped.group(1),
                                                   received and received.group(1))


class Goreplay(Tool):
    def __init__(self, name, program, *output):
        super().__init__(name)
        self.program, self.output = program, output

    def start(self):
        # It has no sign of readiness but its packet socket (packet(7)).
        before = len(read("/proc/net/packet").splitlines())
        self.spawn([self.program, "--input-raw", "127.0.0.1:%d" % PORT,
                    "--input-raw-track-response", *self.output])
        self.wait_for("packet socket",
                      lambda: len(read("/proc/net/packet").splitlines()) > before)
        settle(0.5)


GOREPLAY_PROGRAM = os.path.join(TOP, "build", "cache", "bin", "goreplay")


def build_goreplay():
    """Once, where there is a network."""
    if os.access(GOREPLAY_PROGRAM, os.X_OK) or not shutil.which("go"):
        return
    os.makedirs(os.path.dirname(GOREPLAY_PROGRAM), exist_ok=True)
    say("building GoReplay (once)")
    r = subprocess.run(["go", "install", GOREPLAY], check=False, stdout=subprocess.PIPE, text=True,
                       env={**os.environ, "GOBIN": os.path.dirname(GOREPLAY_PROGRAM)},
                       stderr=subprocess.STDOUT)
    if r.returncode:
        say("goreplay does not build: " + r.stdout[-300:])


def goreplay_program():
    """None, and why is said: it is not there."""
    if os.access(GOREPLAY_PROGRAM, os.X_OK):
        return GOREPLAY_PROGRAM
    say("SKIP GoReplay: " + ("it does not build" if shutil.which("go") else "there is no Go"))
    return None


class Real:
    """A real broker and its topics; topics are used up, each run takes the next."""

    def __init__(self):
        self.bootstrap = kafka.start_broker(os.path.join(WORK, "broker"), 9392)
        self.made = 0

    def sink(self, _run):
        self.made += 1
        name = "calls%d" % self.made
        kafka.create_topics(self.bootstrap, 4, name, name + ".ledger")
        return "kafka://%s/%s" % (self.bootstrap, name)


# --- running


def load(path, connections, rate, seconds):
    argv = [os.path.join(TOP, "build", "bench", "load"), "127.0.0.1", str(PORT), path,
            str(connections), str(rate), str(seconds)]
    r = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if not r.stdout.startswith("{"):
        raise RuntimeError("the load generator failed")
    return json.loads(r.stdout)


def wrk(path, seconds):
    text = net.run(proxies.need("wrk"), "-t1", "-c%d" % SATURATED_CONNECTIONS, "-d%ds" % seconds,
                   "http://127.0.0.1:%d%s" % (PORT, path))
    calls = int(re.search(r"(\d+) requests in", text).group(1))
    if "Socket errors" in text or "Non-2xx" in text:
        raise RuntimeError("wrk: errors: " + text)
    return {"answered": calls, "rate": float(re.search(r"Requests/sec:\s*([\d.]+)", text).group(1))}


def fixed(tool, path, rate, seconds):
    """One run at a fixed rate; a dictionary of figures."""
    tool.start()
    pid = tool.proc and tool.proc.pid
    before = cpu_seconds(pid) if pid else 0
    out = load(path, FIXED_CONNECTIONS, rate, seconds)
    settle(1)  # what is still in its buffers belongs to the cost
    if pid:
        out["cpu_us"] = (cpu_seconds(pid) - before) * 1e6 / out["answered"]
        out["rss_mib"] = status_kib(pid, "RssAnon") / 1024
    delivered, out["lost"] = tool.stop()
    out["share"] = None if delivered is None else 100 * delivered / out["answered"]
    return out


def saturated(tool, path, seconds):
    tool.start()
    out = wrk(path, seconds)
    settle(0.3)
    delivered, out["lost"] = tool.stop()
    out["share"] = None if delivered is None else 100 * delivered / out["answered"]
    return out


def rounds_of(n, tools, one):
    """Interleaved, in alternating order (ABBA): name -> list of figures."""
    got = collections.defaultdict(list)
    for r in range(n):
        for tool in tools if r % 2 == 0 else reversed(tools):
            try:
                got[tool.name].append(one(tool))
            except Skip as e:
                say("SKIP %s: %s" % (tool.name, e))
            finally:
                if tool.proc and tool.proc.poll() is None:
                    tool.proc.kill()
                    tool.proc.wait()
    return got


def spread(values, digits=1):
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    f = "%%.%df" % digits
    if min(values) == max(values):
        return f % values[0]
    return (f + " (" + f + "-" + f + ")") % (statistics.median(values), min(values), max(values))


def column(runs, key):
    return [r.get(key) for r in runs]


def losses(runs):
    return "; ".join(sorted({r["lost"] for r in runs if r["lost"]}))[:160]


class Report:
    def __init__(self):
        self.lines = []

    def add(self, *lines):
        self.lines += lines

    def table(self, head, rows):
        self.add("", "| " + " | ".join(head) + " |", "|" + "---|" * len(head))
        self.add(*("| " + " | ".join(str(c) for c in row) + " |" for row in rows))
        self.add("")


def report_fixed(report, tools, mode):
    for size, (path, rate) in WORKLOADS.items():
        say("fixed rate, %s" % size)
        got = rounds_of(mode.rounds, tools, lambda t, p=path, r=rate: fixed(t, p, r, mode.seconds))
        report.add("### Fixed rate: %d calls/s of %s" % (rate, size))
        rows = []
        for tool in tools:
            runs = got[tool.name]
            rows.append([tool.name, spread(column(runs, "cpu_us"), 2),
                         spread(column(runs, "rss_mib")), spread(column(runs, "share"), 2),
                         spread(column(runs, "p50"), 0), spread(column(runs, "p99"), 0),
                         spread(column(runs, "p999"), 0), losses(runs)])
        report.table(["variant", "CPU us per call", "RssAnon MiB", "captured %", "p50 us", "p99 us",
                      "p99.9 us", "losses it names"], rows)
        if statistics.median(column(got[tools[0].name], "p99")) > OVERLOADED_US:
            report.add("**This machine cannot serve this rate even with nothing attached: the rows above "
                       "show a backlog, not a cost.**", "")


def report_saturated(report, tools, mode):
    for size, (path, _) in WORKLOADS.items():
        say("saturated, %s" % size)
        got = rounds_of(mode.rounds, tools, lambda t, p=path: saturated(t, p, mode.wrk_seconds))
        report.add("### Saturated: wrk, %d connections, %s" % (SATURATED_CONNECTIONS, size))
        base = column(got[tools[0].name], "rate")
        rows = []
        for tool in tools:
            runs = got[tool.name]
            rates = column(runs, "rate")
            ratios = [r / b for r, b in zip(rates, base)]
            rows.append([tool.name, spread(rates, 0), spread(ratios, 3),
                         spread(column(runs, "share"), 2), losses(runs)])
        report.table(["variant", "calls/s", "ratio to none", "captured %", "losses it names"], rows)


def enable_run_time():
    """Holds BPF_STATS_RUN_TIME on (bpf(2)) as long as the descriptor is open."""
    libc = ctypes.CDLL(None, use_errno=True)
    attr = (ctypes.c_uint32 * 32)()
    attr[0] = BPF_STATS_RUN_TIME
    fd = libc.syscall(BPF_NR[platform.machine()], BPF_ENABLE_STATS, attr, 16)
    if fd < 0:
        raise Skip("BPF_ENABLE_STATS: errno %d" % ctypes.get_errno())
    return fd


def program_stats(pid):
    """Programs a process holds, or behind the links it holds: id -> (name, ns, runs)."""
    ids = net.program_ids(pid)
    progs = set(ids["prog"])
    for link in ids["link"]:
        text = net.run("bpftool", "link", "show", "id", str(link), "-j", check=False)
        if text.strip():
            progs.add(json.loads(text)["prog_id"])
    out = {}
    for i in progs:
        text = net.run("bpftool", "prog", "show", "id", str(i), "-j", check=False)
        p = json.loads(text) if text.strip() else {}
        if "id" not in p:
            continue  # detached meanwhile
        out[i] = (p.get("name", "?"), p.get("run_time_ns", 0), p.get("run_cnt", 0))
    return out


def report_probe(report, program, mode):
    report.add("### The probe alone: nanoseconds per run (BPF_STATS_RUN_TIME), sink null")
    rows = []
    for back_end in ("cgroup", "socket"):
        for size, (path, rate) in WORKLOADS.items():
            say("probe, %s, %s" % (back_end, size))
            tool = Sidetap(back_end, program, lambda _: "null:", back_end)
            costs = collections.defaultdict(list)
            for _ in range(mode.rounds):
                fd = enable_run_time()
                tool.start()
                before = program_stats(tool.proc.pid)
                load(path, FIXED_CONNECTIONS, rate, mode.seconds)
                for i, (name, ns, runs) in program_stats(tool.proc.pid).items():
                    runs -= before[i][2]
                    if runs:
                        costs[name].append((ns - before[i][1]) / runs)
                tool.stop()
                os.close(fd)
            for name, values in sorted(costs.items()):
                rows.append([back_end, name, size, spread(values, 0)])
    report.table(["attached to", "program", "reply", "ns per run"], rows)


def with_probe(tool, path, rate, seconds):
    """As fixed(), and what the probe ran, per call."""
    fd = enable_run_time()
    try:
        tool.start()
        before = sum(ns for _, ns, _ in program_stats(tool.proc.pid).values())
        cpu = cpu_seconds(tool.proc.pid)
        out = load(path, FIXED_CONNECTIONS, rate, seconds)
        settle(1)
        probe = sum(ns for _, ns, _ in program_stats(tool.proc.pid).values()) - before
        out["cpu_us"] = (cpu_seconds(tool.proc.pid) - cpu) * 1e6 / out["answered"]
        out["probe_us"] = probe / 1e3 / out["answered"]
        tool.stop()
    finally:
        os.close(fd)
    return out


def report_rules(report, mode):
    """What rules that do not match cost a call, from packets in memory to the record."""
    got = collections.defaultdict(list)
    counts = (0, 1, 10, 100)
    program = os.path.join(TOP, "build", "bench", "pipeline_bench")
    for r in range(mode.rounds * 2 + 1):
        say("rules")
        for n in counts if r % 2 == 0 else reversed(counts):
            line = net.run(program, "400000", "1024", str(n))
            got[n].append(float(re.search(r"(\d+) ns a call", line).group(1)))
    report.add("### Rules of sampling that match on service, method, path, a header, and do not match")
    report.table(["rules", "ns a call", "more than none"], [
        [n, spread(got[n], 0), spread([a - b for a, b in zip(got[n], got[0])], 0)] for n in counts])


def watch_cpu(pid, seconds):
    """CPU of a process and of its probes since now, every 0.2 s: [(time, seconds of CPU)]."""
    def used():
        return cpu_seconds(pid) + sum(ns for _, ns, _ in program_stats(pid).values()) / 1e9
    begin, first, last, out = time.monotonic(), used(), 0.0, []
    while time.monotonic() < begin + seconds:
        now = used() - first
        last = max(last, now)  # detached, the probes' time is gone
        out.append((time.monotonic() - begin, last))
        settle(0.2)
    return out


def worst_window(samples, seconds):
    """The most CPU used within a window, per second of it"""
    worst = 0
    for i, (t, used) in enumerate(samples):
        before = [u for s, u in samples[:i] if s >= t - seconds]
        worst = max(worst, used - min(before, default=used))
    return worst / seconds


def report_budget(report, program, mode):
    """A saturated service beside a small budget: what was used, and what is left for the service."""
    rows = []
    for budget in (5, 1):
        say("budget of %d %%" % budget)
        ratios, worst, steps = [], [], set()
        for _ in range(mode.rounds):
            fd = enable_run_time()
            tool = Sidetap("budget", program, lambda _: "null:",
                           options=("--budget-cpu", "%d%%" % budget))
            tool.start()
            pressure = subprocess.Popen([proxies.need("wrk"), "-t1", "-c%d" % SATURATED_CONNECTIONS, "-d14s",
                                         "http://127.0.0.1:%d/1k" % PORT], stdout=subprocess.DEVNULL)
            worst.append(worst_window(watch_cpu(tool.proc.pid, 14), 10) * 100 / budget)
            pressure.wait()
            steps.add(re.findall(r"governor: (\w+)", read(tool.out))[-1])
            governed = wrk("/1k", mode.wrk_seconds)["rate"]
            tool.stop()
            os.close(fd)
            ratios.append(governed / wrk("/1k", mode.wrk_seconds)["rate"])
        rows.append(["%d %%" % budget, spread(worst, 2), " ".join(sorted(steps)), spread(ratios, 3)])
    report.add("### A budget beside wrk, %d connections, 1 KiB: the worst 10 s of 14, the step at their end, and the "
               "throughput then" % SATURATED_CONNECTIONS)
    report.table(["budget", "worst 10 s, of the budget", "step", "ratio to none"], rows)


def report_sampling(report, program, mode):
    """Sampled captures beside none and a whole one."""
    tools = [Nothing("none")] + [
        Sidetap(name, program, lambda _: "null:", options=options) for name, options in (
            ("all", ()), ("-s 1%", ("-s", "1%")), ("--connections 1%", ("--connections", "1%")))]
    report_saturated(report, tools, mode)
    for size, (path, rate) in WORKLOADS.items():
        say("sampled, %s" % size)
        got = rounds_of(mode.rounds, tools[1:],
                        lambda t, p=path, r=rate: with_probe(t, p, r, mode.seconds))
        report.add("### Sampled at a fixed rate: %d calls/s of %s" % (rate, size))
        report.table(["variant", "CPU us per call", "of the probe, us per call"], [
            [t.name, spread(column(got[t.name], "cpu_us"), 2),
             spread(column(got[t.name], "probe_us"), 2)] for t in tools[1:]])
    report_rules(report, mode)


def report_memory(report, program, mode):
    say("memory")
    report.add("### Memory: RssAnon, rings apart")
    rows = []
    tool = Sidetap("sidetap null", program, lambda _: "null:")
    tool.start()
    idle = status_kib(tool.proc.pid, "RssAnon") / 1024
    connections = 10000
    out = load("/1k", connections, 5000, max(4, mode.seconds))
    rows.append(["just attached", "%.1f" % idle, ""])
    rows.append(["%d connections, 5000 calls/s" % connections,
                 "%.1f" % (status_kib(tool.proc.pid, "RssAnon") / 1024), "goal: 64"])
    delivered, lost = tool.stop()
    rows[-1][2] += "; captured %.2f %% %s" % (100 * delivered / out["answered"], lost)
    mock = kafka.Mock("calls", "calls.ledger")
    tool = Sidetap("sidetap kafka", program, lambda _: "kafka://%s/calls" % mock.bootstrap)
    tool.start()
    os.kill(mock.proc.pid, signal.SIGSTOP)
    load("/16k", FIXED_CONNECTIONS, 5000, max(4, mode.seconds))
    rows.append(["Kafka queue full (broker stopped)",
                 "%.1f" % (status_kib(tool.proc.pid, "RssAnon") / 1024), "goal: 128"])
    os.kill(mock.proc.pid, signal.SIGCONT)
    tool.stop()
    mock.close()
    report.table(["state", "RssAnon MiB", ""], rows)


# From memory, on one core: goals in calls a second
STAGES = ("http1", "http2", "thrift", "ttheader", "theader", "dubbo2", "brpc", "record", "pipeline")
GOALS = {"http2": 500e3, "grpc": 500e3, "thrift framed+binary": 1e6, "ttheader": 1e6,
         "packet to record": 1e6}


def report_stages(report, mode):
    """The framers and the rest of the road alone, by the processor time that they took."""
    report.add("### From memory: calls a second of one core's time, messages of 1 KiB")
    got = collections.defaultdict(list)
    for _ in range(mode.rounds):
        for stage in STAGES:
            say("from memory: %s" % stage)
            program = os.path.join(TOP, "build", "bench", stage + "_bench")
            for line in net.run(program).splitlines():
                found = re.match(r"(.+?): (\d+) (calls|frames)/s", line)
                if found:
                    got[found.group(1), found.group(3)].append(int(found.group(2)) / 1e6)
    rows = []
    for (name, unit), values in got.items():
        goal = GOALS.get(name)
        rows.append([name, spread(values, 2) + " M %s/s" % unit, "" if not goal else "%.1f M: %s" % (
            goal / 1e6, "met" if statistics.median(values) >= goal / 1e6 else "missed")])
    report.table(["stage", "", "goal"], rows)


RECORDS = 300000


def measured(argv, stdin=None):
    """Seconds, and seconds of CPU, of a program."""
    start = time.monotonic()
    p = subprocess.Popen(argv, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        raise RuntimeError("%s ended with %d" % (argv[0], p.returncode))
    return {"seconds": time.monotonic() - start, "cpu": usage.ru_utime + usage.ru_stime}


def report_capture_to_kafka(report, sidetap, mode, real):
    """The whole way, from the service's sockets to the broker, beside GoReplay's."""
    tools = [Sidetap("sidetap", sidetap, real.sink)]
    go = goreplay_program()
    if go:
        kafka.create_topics(real.bootstrap, 4, "goreplay")
        tools.append(Goreplay("GoReplay", go, "--output-kafka-host", real.bootstrap,
                              "--output-kafka-topic", "goreplay", "--output-kafka-json-format"))
    got = rounds_of(mode.rounds, tools, lambda t: fixed(t, "/1k", 5000, mode.seconds))
    report.add("### Captured and sent to a real broker: 5,000 calls/s of 1 KiB")
    report.table(["variant", "CPU s per million calls", "RssAnon MiB", "captured %"], [
        [t.name, spread(column(got[t.name], "cpu_us"), 1), spread(column(got[t.name], "rss_mib")),
         spread(column(got[t.name], "share"), 2)] for t in tools])


def report_kafka(report, sidetap, mode):
    """The sink alone into a real broker, beside kcat with the same records and settings."""
    say("records into a real broker")
    program = os.path.join(TOP, "build", "bench", "kafka_load")
    records = os.path.join(WORK, "records")
    net.run(program, "write", records, str(RECORDS))
    real = Real()

    def kcat(*settings):
        topic = real.sink(0).rpartition("/")[2]
        options = [x for s in settings for x in ("-X", s)]
        with open(records, "rb") as f:
            return measured([proxies.need("kcat"), "-P", "-b", real.bootstrap, "-t", topic, "-K", "|k|",
                             "-D", "|~|", *options], f)
    same = ("enable.idempotence=true", "max.in.flight=1", "compression.codec=zstd",
            "compression.level=1", "linger.ms=50", "batch.size=1000000",
            "queue.buffering.max.kbytes=32768")
    variants = {"sidetap's sink": lambda: measured([program, real.sink(0), str(RECORDS)]),
                "kcat, the same settings": lambda: kcat(*same),
                "kcat, its own settings and zstd": lambda: kcat("compression.codec=zstd")}
    got = collections.defaultdict(list)
    for r in range(mode.rounds):
        for name in list(variants) if r % 2 == 0 else reversed(list(variants)):
            got[name].append(variants[name]())
    report_capture_to_kafka(report, sidetap, mode, real)
    report.add("### %d records of 1.2 KiB into a real broker on the same CPUs" % RECORDS)
    report.table(["from", "records/s", "CPU s per million"], [
        [name, spread([RECORDS / r["seconds"] for r in runs], 0),
         spread([r["cpu"] / RECORDS * 1e6 for r in runs], 2)] for name, runs in got.items()])


Mode = collections.namedtuple("Mode", "name rounds seconds wrk_seconds")
QUICK, FULL = Mode("quick", 3, 2, 2), Mode("full", 9, 6, 5)


def make_tools(args, full):
    """Of the fixed rate, and of the saturated runs."""
    sinks = {"null": lambda _: "null:", "file": lambda n: "file:%s/records-%d" % (WORK, n)}
    mock = kafka.Mock("calls", "calls.ledger")
    sinks["Kafka (embedded, other process)"] = lambda _: "kafka://%s/calls" % mock.bootstrap
    if full:
        try:
            sinks["Kafka (real broker)"] = Real().sink
        except Skip as e:
            say("SKIP real broker: %s" % e)
    ours = [Sidetap("sidetap " + name, args.program, sink) for name, sink in sinks.items()]
    others = [Tcpdump("tcpdump")] if shutil.which("tcpdump") else []
    go = goreplay_program()
    if go:
        others.append(Goreplay("GoReplay null", go, "--output-null"))
        if full:
            others.append(Goreplay("GoReplay file", go, "--output-file",
                                   os.path.join(WORK, "goreplay.out")))
            others.append(Goreplay("GoReplay Kafka", go, "--output-kafka-host", mock.bootstrap,
                                   "--output-kafka-topic", "goreplay", "--output-kafka-json-format"))
    return [Nothing("none"), *ours, *others]


def inside(args):
    net.run("ip", "link", "set", "lo", "up")
    net.run("mount", "-t", "tmpfs", "-o", "size=8g", "none", WORK)
    proxies.nginx(os.path.join(WORK, "nginx"), PORT, log_calls=False, connections=12000)
    mode = FULL if args.full else QUICK
    report = Report()
    version = net.run(args.program, "--version", check=False).strip()
    report.add("# Benchmark (%s)" % mode.name, "",
               "%s; %s; Linux %s, %d CPUs; %d rounds of %d s, interleaved; median (least-greatest). "
               "nginx with one worker, %d keep-alive connections, everything on these CPUs." % (
                   time.strftime("%Y-%m-%d"), version, platform.release(), os.cpu_count(),
                   mode.rounds, mode.seconds, FIXED_CONNECTIONS), "")
    only = args.only.split(",") if args.only else [
        "stages", "fixed", "saturated", "sampling", "budget", "probe", "memory"] + ["kafka"] * args.full
    try:
        if "stages" in only:
            report_stages(report, mode)
        if "fixed" in only or "saturated" in only:
            tools = make_tools(args, args.full)
        if "fixed" in only:
            report_fixed(report, tools, mode)
        if "saturated" in only:
            report_saturated(report, tools, mode)
        if "sampling" in only:
            report_sampling(report, args.program, mode)
        if "budget" in only:
            report_budget(report, args.program, mode)
        if "probe" in only:
            report_probe(report, args.program, mode)
        if "memory" in only:
            report_memory(report, args.program, mode)
        if "kafka" in only:
            report_kafka(report, args.program, mode)
    finally:
        with open(args.out, "w", encoding="utf-8") as f:
            f.write("\n".join(report.lines) + "\n")
    print("\n".join(report.lines))
    return 0


def build_load():
    out = os.path.join(TOP, "build", "bench")
    os.makedirs(out, exist_ok=True)
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra",
                    "-Werror", "-o", os.path.join(out, "load"), os.path.join(HERE, "load.c")],
                   check=True)


def main():
    p = argparse.ArgumentParser(description="sidetap beside tcpdump and GoReplay, one workload.")
    p.add_argument("--full", action="store_true", help="more rounds, a real broker (about 30 minutes)")
    p.add_argument("--program", default=os.path.join(TOP, "build", "sidetap"))
    p.add_argument("--out", default=os.path.join(TOP, "build", "bench", "report.md"))
    p.add_argument("--only", default="", help="of stages,fixed,saturated,sampling,budget,probe,memory,kafka")
    p.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_args()
    args.program, args.out = os.path.abspath(args.program), os.path.abspath(args.out)
    if args.inside:
        return inside(args)
    if os.geteuid():
        sys.exit("run.py: needs root (namespaces, BPF)")
    if not os.access(args.program, os.X_OK):
        sys.exit("run.py: %s is not there: run make" % args.program)
    build_load()
    if not args.only or {"fixed", "saturated", "kafka"} & set(args.only.split(",")):
        build_goreplay()
    mount = net.cgroup2_mount()
    cgroup = mount and os.path.join(mount, "sidetap-bench-%d" % os.getpid())
    if cgroup:
        os.mkdir(cgroup)
    try:
        return subprocess.run(["unshare", "-n", "-p", "-m", "-f", "--mount-proc", "--kill-child",
                               "/usr/bin/python3", "-B", os.path.abspath(__file__), *sys.argv[1:],
                               "--inside"], check=False,
                              preexec_fn=lambda: cgroup and net.enter_cgroup(cgroup)).returncode
    finally:
        if cgroup:
            net.remove_cgroups(cgroup)


if __name__ == "__main__":
    sys.exit(main())
