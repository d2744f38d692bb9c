# SPDX-License-Identifier: Apache-2.0
"""Rules of sampling, muting, limits and the budget, on real traffic."""

import os
import socket
import threading
import time

from kit import capture, net, oracle, proxies, service, workload
from kit.case import test
from kit.client import Client

PORT = 9080

RULES = """\
sample: 0
rules:
  - name: health
    match: {path: "/status?code=204*"}
    drop: true
  - name: head
    match: {path: "/bytes*", header: {x-keep: "head"}}
    body: head:100
  - name: failures
    match: {path: "/status*"}
    keep_if: {status: 500-599}
  - name: slow
    match: {path: "/slow*"}
    keep_if: {slower_than: 150ms}
  - name: first
    match: {method: "PUT"}
    first_per_method: 2
"""


def config(t, text):
    path = t.path("sidetap.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def rule(parsed, name):
    for r in parsed["rules"]:
        if r["name"] == name:
            return r
    t = [r["name"] for r in parsed["rules"]]
    raise capture.Failure("the ledger has no rule %s, only %s" % (name, t))


def rules_add_up(t, parsed):
    """seen of all rules = calls that left, kept = calls recorded, in the final ledger."""
    sample = capture.stage(parsed, "sample")
    t.same("sum of seen", sample["in"], sum(r["seen"] for r in parsed["rules"]))
    t.same("sum of kept", sample["exits"]["recorded"], sum(r["kept"] for r in parsed["rules"]))


@test(each=["cgroup", "pcap"])
def sampling_rules(t, kind):
    """Each rule keeps what it says, with its name and weight; the ledger tells seen and kept of each."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(kind), "-c", config(t, RULES))
    with Client("127.0.0.1", PORT) as c:
        for n in range(20):
            c.call("GET", "/status?code=204")
            c.call("GET", "/status?code=200")
            c.call("GET", "/status?code=503" if n % 5 == 0 else "/status?code=404")
            c.call("GET", "/bytes?n=1000", headers=[("X-Keep", "head" if n % 2 else "tail")])
            c.call("PUT", "/echo", body=b"x" * 10)
        c.call("GET", "/slow?ms=300")
        c.call("GET", "/slow?ms=1")
    cap.stop()
    parsed = capture.check_ledger(t, cap.sink, lossless=kind != "pcap")
    records = capture.export(t, cap.sink)
    by_rule = {}
    for r in records:
        by_rule.setdefault(r["rule"], []).append(r)
    t.same("records by rule", {"head": 10, "failures": 4, "slow": 1, "first": 2},
           {name: len(rs) for name, rs in by_rule.items()})
    t.same("weights", {1.0}, {r["weight"] for r in records})
    t.same("status of failures", {503}, {r["status_code"] for r in by_rule["failures"]})
    t.same("the slow one", True, "ms=300" in by_rule["slow"][0]["path"])
    for r in by_rule["head"]:
        t.same("kept of a body", 100, len(oracle.body_of(r["response"])))
        t.same("its true length", 1000, r["response"]["body_bytes"])
        t.check("truncated" in r["flags"], "no flag says that it was cut")
    seen = {r["name"]: (r["seen"], r["kept"]) for r in parsed["rules"]}
    t.same("rules", {"health": (20, 0), "head": (10, 10), "failures": (40, 4), "slow": (2, 1),
                     "first": (20, 2), "sample": (10, 0)}, seen)
    rules_add_up(t, parsed)
    sample = capture.stage(parsed, "sample")
    t.same("calls seen", len(service.read_log(log)), sample["in"])
    t.same("dropped by a rule", 20, sample["exits"]["rule_dropped"])
    oracle.check_record_numbers(records)


@test()
def sampling_whole_traces(t):
    """Two captures of the same calls keep the same traces, and the more generous one those of the other."""
    import random
    draw = random.Random(7)
    t.service(PORT)
    caps = [t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "-s", s) for s in ("20%", "20%", "60%")]
    for _ in range(20):
        with Client("127.0.0.1", PORT) as c:
            for _ in range(20):
                c.call("GET", "/bytes?n=10", headers=[
                    ("traceparent", "00-%032x-00f067aa0ba902b7-01" % draw.getrandbits(128))])
    traces = []
    for cap in caps:
        cap.stop()
        capture.check_ledger(t, cap.sink)
        traces.append({r["trace_id"] for r in capture.export(t, cap.sink)})
    t.check(40 < len(traces[0]) < 130, "%d of 400 traces were kept" % len(traces[0]))
    t.same("the traces of the second", traces[0], traces[1])
    t.check(traces[0] < traces[2], "the more generous capture lacks some")


class Echo:
    """A protocol that nobody knows: what comes goes back."""

    def __init__(self, port):
        self.sock = socket.create_server(("127.0.0.1", port), backlog=50)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            threading.Thread(target=self.serve, args=self.sock.accept()[:1], daemon=True).start()

    @staticmethod
    def serve(sock):
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)


def round_trip(sock, data):
    sock.sendall(data)
    n = 0
    while n < len(data):
        n += len(sock.recv(65536))


def muted_packets(t, cap):
    """As the ledger of the last interval says"""
    parsed = capture.ledger(t, cap.sink)
    return capture.stage(parsed, "probe")["exits"]["muted"] if parsed.get("stages") else 0


@test(each=["cgroup", "socket"])
def sampling_mutes_what_nobody_wants(t, kind):
    """A dropped opaque connection is left out in the kernel until it ends; its neighbours lose nothing."""
    log = t.service(PORT)
    Echo(PORT + 1)
    cap = t.capture("-p", "%d,%d" % (PORT, PORT + 1), "-a", t.attach(kind), "--ledger-interval", "100ms",
                    "-c", config(t, "rules:\n  - {name: noise, match: {protocol: opaque}, drop: true}\n"))
    rounds = 0
    with socket.create_connection(("127.0.0.1", PORT + 1)) as s, Client("127.0.0.1", PORT) as c:
        def traffic():
            nonlocal rounds
            round_trip(s, b"\x7f\x00\x01\xfe" * 2000)
            c.call("GET", "/bytes?n=%d" % (rounds % 50))
            rounds += 1
            return rounds % 20 == 0 and muted_packets(t, cap) > 200
        net.wait_until("200 muted packets", traffic, 30, 0.001)
        client = "%s:%d" % s.getsockname()
    cap.stop()
    parsed = capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    oracle.match(service.read_log(log), records)
    t.same("calls", rounds, len(records))
    t.check(all(r["client"] != client for r in records), "the dropped connection has a record")
    t.same("gaps", {"aged": 0, "evicted": 0, "cut": 0, "unseen": 0, "at_close": 0, "jump": 0},
           capture.stage(parsed, "gaps")["exits"])
    t.same("seen of the rule", 1, rule(parsed, "noise")["seen"])
    rules_add_up(t, parsed)


@test()
def sampling_joins_again_what_new_rules_want(t):
    """The file changes while a connection is muted: what follows on it is captured, as joined late."""
    Echo(PORT)
    noise = "rules:\n  - {name: noise, match: {protocol: opaque}, drop: true}\n"
    path = config(t, noise)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--ledger-interval", "100ms", "-c", path)
    data = b"\x7f\x00\x01\xfe" * 2000
    with socket.create_connection(("127.0.0.1", PORT)) as s:
        client = "%s:%d" % s.getsockname()

        def muted():
            round_trip(s, data)
            return muted_packets(t, cap) > 20
        net.wait_until("it is muted", muted, 20, 0.001)
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write("rules:\n  - {name: kept}\n")
        os.replace(path + ".new", path)
        net.wait_until("the reload", lambda: "configuration taken" in cap.errors(), 10)
        for _ in range(100):
            round_trip(s, data)
    cap.stop()
    parsed = capture.check_ledger(t, cap.sink, lossless=False)
    records = [r for r in capture.export(t, cap.sink) if r["client"] == client]
    t.same("records of the connection", 1, len(records))
    t.same("its rule", "kept", records[0]["rule"])
    t.check("late_join" in records[0].get("flags", []), "flags are %s" % records[0].get("flags"))
    t.check(records[0]["request"]["body_bytes"] > 50 * len(data), "most of what followed is missing")
    t.same("seen of the old rule", (1, 0), (rule(parsed, "noise")["seen"], rule(parsed, "noise")["kept"]))
    rules_add_up(t, parsed)


@test(each=["calls", "time"])
def limit_and_idle(t, kind):
    """--limit with --idle: it detaches and stays, attached to nothing, until a signal."""
    t.service(PORT)
    limit = {"calls": "calls=5", "time": "time=2s"}[kind]
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--limit", limit, "--idle")
    ids = net.program_ids(cap.pid)
    t.check(ids["prog"], "no BPF program is held by the capture")
    with Client("127.0.0.1", PORT) as c:
        def gone():
            c.call("GET", "/bytes?n=10")
            return "--limit reached" in cap.errors()
        net.wait_until("the limit", gone, 20, 0.05)
        for name in ("prog", "link"):
            net.wait_until("BPF %s gone" % name, lambda k=name: not net.ids_that_exist(k, ids[k]), 5)
        before = time.monotonic()
        while time.monotonic() < before + 2.5:  # longer than it takes to try to attach again
            c.call("GET", "/bytes?n=10")
            t.check(cap.proc.poll() is None, "it ended")
            t.check(not net.program_ids(cap.pid)["prog"], "it attached again")
    cap.stop()
    capture.check_ledger(t, cap.sink, lossless=False)
    records = capture.export(t, cap.sink)
    if kind == "calls":
        t.same("records", 5, len(records))
    t.check(records, "nothing was recorded")


def scheduled(pid):
    """(policy, nice) of all its threads; proc_pid_stat(5), fields 41 and 19"""
    out = set()
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/stat" % (pid, task), encoding="utf-8") as f:
            fields = f.read().rpartition(")")[2].split()
        out.add((int(fields[38]), int(fields[16])))
    return out


@test(each=["normal", "low", "idle"])
def F7_gives_way(t, priority):
    """All its threads have the priority; F6: the kernel takes it before the service when memory runs out."""
    t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--priority", priority)
    t.check(len(os.listdir("/proc/%d/task" % cap.pid)) > 1, "it has one thread: the file's writer is not there")
    t.same("policy and nice", {{"normal": (os.SCHED_OTHER, 0), "low": (os.SCHED_OTHER, 10),
                                "idle": (os.SCHED_IDLE, 0)}[priority]}, scheduled(cap.pid))
    with open("/proc/%d/oom_score_adj" % cap.pid, encoding="utf-8") as f:
        t.same("oom_score_adj", 1000, int(f.read()))
    with Client("127.0.0.1", PORT) as c:
        for _ in range(20):
            c.call("GET", "/bytes?n=100")
    cap.stop()
    capture.check_ledger(t, cap.sink)
    t.same("records", 20, len(capture.export(t, cap.sink)))


def governor_lines(cap):
    return [line for line in cap.errors().splitlines() if "governor: " in line]


@test(alone=True, timeout=120, each=["cgroup", "pcap"])
def governor_holds_a_budget(t, kind):
    """
    A load that costs several budgets: it goes down step by step, what is recorded stays right, every byte has its
    exit; when the load is over it climbs back to all by itself.
    """
    proxies.nginx(t.path("nginx"), PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(kind), "--budget-cpu", "1%")
    load = workload.Load("127.0.0.1", PORT, 6, lambda c, n: c.call("GET", ("/1k", "/16k")[n % 2]))

    def sampled():
        return load.errors or any(" connections 1/" in line for line in governor_lines(cap))
    net.wait_until("connections are sampled", sampled, 40)
    before = load.done()
    net.wait_until("300 calls more", lambda: load.done() > before + 300 or load.errors, 20)
    load.stop()
    t.check(not load.errors, "a call failed: %s" % load.errors[:1])
    lines = len(governor_lines(cap))
    net.wait_until("it climbs back to all", lambda: " all (room)" in governor_lines(cap)[-1], 60)
    t.check(len(governor_lines(cap)) > lines, "it had climbed under load")
    with Client("127.0.0.1", PORT) as c:  # a connection from after it is whole, and weighs 1
        for _ in range(5):
            c.call("GET", "/16k")
        client = "%s:%d" % c.sock.getsockname()
    cap.stop()
    parsed = capture.check_ledger(t, cap.sink, lossless=False)
    steps = capture.stage(parsed, "governor")["exits"]
    t.check(steps["all"] > 0 and steps["connections"] > 0, "times at the steps: %s" % steps)
    moves = capture.stage(parsed, "governor_moves")["exits"]
    t.check(moves["cpu"] > 0 and moves["room"] > 0, "moves: %s" % moves)
    t.same("moves and lines", sum(moves.values()), len(governor_lines(cap)))
    records = capture.export(t, cap.sink)
    after = [r for r in records if r["client"] == client]
    t.same("calls of the connection after it", 5, len(after))
    for r in after:
        t.same("weight", 1.0, r["weight"])
        t.same("kept of a body", 16384, len(oracle.body_of(r["response"])))
    shares = {r["weight"] for r in records}
    t.check(shares <= {2.0 ** k for k in range(8)}, "weights are %s" % sorted(shares))
    rules_add_up(t, parsed)
    oracle.check_record_numbers(records)
