# SPDX-License-Identifier: Apache-2.0
"""How it starts, ends, and behaves under faults: late attach, signals, limits, sampling, pipes."""

import os
import re
import signal
import subprocess
import threading
import time

from kit import capture, http1, net, oracle, proxies, service, workload
from kit.case import test
from kit.client import Client

PORT = 9080
MARKS = {"late_join", "gap", "truncated", "no_response", "orphan_response", "capture_ended",
         "protocol_error", "evicted", "timeout", "overlap_conflict"}


def right_or_flagged(t, log, records):
    """
    A record that carries no mark is equal to a logged call; one with a mark never pairs a request with
    another call's reply unless it says late_join. (exact records by token, marked records)
    """
    calls = {x["call"]: x for x in log}
    exact, marked = {}, []
    d = oracle.Differences()
    for r in records:
        marks = MARKS & set(r.get("flags", []))
        if marks:
            marked.append(r)
        token = oracle.call_of(r)
        reply = oracle.token_in(r.get("response", {}))
        if "request" in r and "response" in r and token != reply and "late_join" not in marks and (
                r["response"].get("headers")):
            d.add("record " + r["id"], "request of %s with the reply of %s" % (token, reply))
        if r.get("protocol") == "http1" and not marks - {"late_join"} and "request" in r:
            if token not in calls:
                d.add("record " + r["id"], "nobody made call %r" % token)
                continue
            if "late_join" in marks and token != reply:
                continue
            oracle.check_call(d, calls[token], r, 1 << 20, {"late_join"})
            exact[token] = r
        elif not marks and r.get("protocol") != "opaque":
            d.add("record " + r["id"], "no mark, and not a whole call: %s" % r)
    d.verdict()
    return exact, marked


def mixed_request(c, n):
    if n % 3 == 0:
        c.call("POST", "/echo", body=http1.pattern(n % 11 * 700 + 1, n))
    elif n % 3 == 1:
        c.call("GET", "/bytes?n=%d" % (n % 13 * 1500))
    else:
        c.call("GET", "/chunked?n=3000&size=512")


def pipelined_request(c, n):
    c.pipeline([("GET", "/bytes?n=%d" % ((n + k) % 7 * 200)) for k in range(4)])


@test(each=["cgroup", "socket", "pcap", "pipelined"])
def T7_late_attach(t, kind):
    """Attaching to old, busy connections: what follows is right or marked, none is wrong."""
    t.service(PORT)
    request = pipelined_request if kind == "pipelined" else mixed_request
    load = workload.Load("127.0.0.1", PORT, 8, request)
    net.wait_until("300 calls before", lambda: load.done() > 300 or load.errors, 20)
    cap = t.capture("-p", str(PORT), "-a",
                    t.attach("cgroup") if kind == "pipelined" else t.attach(kind))
    ready, before = time.monotonic(), load.done()
    net.wait_until("1,200 calls after", lambda: load.done() > before + 1200 or load.errors, 30)
    log = load.stop()
    cap.stop()
    capture.check_ledger(t, cap.sink, lossless=False)
    records = capture.export(t, cap.sink)
    exact, _ = right_or_flagged(t, log, records)
    later = [x for x in log if x["sent"] > ready + 0.3]
    if kind != "pipelined":
        missing = [x["call"] for x in later if x["call"] not in exact]
        t.check(not missing, "%d of %d calls made after attaching are missing: %s" % (
            len(missing), len(later), missing[:3]))
    t.check(len(exact) > 500, "only %d calls are right" % len(exact))
    oracle.check_record_numbers(records)


@test(alone=True)
def F4_kill_9_under_load(t):
    """Three times: no request fails, nothing stays attached."""
    proxies.nginx(t.path("nginx"), PORT)
    load = workload.Load("127.0.0.1", PORT, 6, lambda c, n: c.call("GET", ("/1k", "/16k")[n % 2]))
    for back_end in (t.attach("cgroup"), "socket", t.attach("cgroup")):
        cap = t.capture("-p", str(PORT), "-a", back_end)
        ids = net.program_ids(cap.pid)
        if back_end.startswith("cgroup"):
            t.check(ids["prog"] or ids["link"], "no BPF program is held by the capture")
        before = load.done()
        net.wait_until("300 calls", lambda: load.done() > before + 300 or load.errors, 20)
        cap.proc.kill()
        cap.wait()
        for kind in ("prog", "link"):
            net.wait_until("BPF %s %s gone" % (kind, ids[kind]),
                           lambda k=kind, i=ids: not net.ids_that_exist(k, i[k]), 2)
        attached = net.run("bpftool", "cgroup", "show", t.cgroup)
        t.check("skb" not in attached, "still attached: " + attached)
        before = load.done()
        net.wait_until("300 calls after it", lambda: load.done() > before + 300 or load.errors, 20)
        # P2: what was sealed or flushed before the kill is readable; the tail may be torn.
        t.check(subprocess.run([t.program, "ledger", "-i", cap.sink, "--check"], check=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 1,
                "ledger --check must not prove a run that was killed")
        records = capture.export(t, cap.sink)
        right_or_flagged(t, [x for log in load.logs for x in log], [
            r for r in records if "late_join" not in r.get("flags", [])])
    t.check(len(load.stop()) > 1500, "too few calls")
    log = proxies.read_calls(t.path("nginx/calls.log"), 1)
    t.check(all(x["status"] == 200 for x in log), "a request failed")
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    cap.stop()
    capture.check_ledger(t, cap.sink)


@test(alone=True, timeout=300, slow=True)
def F4_kill_9_forty_times(t):
    """At points drawn from a fixed seed, under load: no request fails, no program and no link stays."""
    import random
    draw = random.Random(4)
    log = proxies.nginx(t.path("nginx"), PORT)
    load = workload.Load("127.0.0.1", PORT, 6, lambda c, n: c.call("GET", ("/1k", "/16k")[n % 2]))
    for n in range(40):
        cap = t.capture("-p", str(PORT), "-a", (t.attach("cgroup"), "socket")[n % 2], sink="null:",
                        wait=n % 4 != 3)
        capture.settle(draw.random() * 0.2)
        ids = net.program_ids(cap.pid)
        cap.proc.kill()
        cap.wait()
        for kind in ("prog", "link"):
            net.wait_until("BPF %s %s gone" % (kind, ids[kind]),
                           lambda k=kind, i=ids: not net.ids_that_exist(k, i[k]), 2)
    t.check(len(load.stop()) > 1000, "too few calls")
    t.check(all(x["status"] == 200 for x in proxies.read_calls(log, 1000)), "a request failed")
    t.check("skb" not in net.run("bpftool", "cgroup", "show", t.cgroup), "a program is attached")
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/1k")
    cap.stop()
    capture.check_ledger(t, cap.sink)
    t.same("records", 1, len(capture.export(t, cap.sink)))


@test(alone=True, timeout=300, slow=True)
def P1_sigterm_thirty_times(t):
    """At points drawn from a fixed seed, under load: exit 0, a final ledger that balances."""
    import random
    draw = random.Random(1)
    t.service(PORT)
    load = workload.Load("127.0.0.1", PORT, 4, mixed_request)
    for _ in range(30):
        cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
        capture.settle(draw.random() * 0.3)
        cap.stop()
        capture.check_ledger(t, cap.sink, lossless=False)
        right_or_flagged(t, [x for log in load.logs for x in list(log)], [
            r for r in capture.export(t, cap.sink) if r["outcome"] not in ("UNKNOWN",)])
    load.stop()


@test(alone=True, timeout=90, each=["cgroup", "socket"])
def P9_stopped_under_load(t, back_end):
    """SIGSTOP for 5 s with small rings: calls = delivered + named losses, no wrong body, no harm."""
    t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end), "--ring-size", "256KiB,1MiB")
    load = workload.Load("127.0.0.1", PORT, 6, mixed_request)
    net.wait_until("300 calls", lambda: load.done() > 300 or load.errors, 20)
    os.kill(cap.pid, signal.SIGSTOP)
    stopped = load.done()
    capture.settle(5)
    while_stopped = load.done() - stopped
    os.kill(cap.pid, signal.SIGCONT)
    resumed = time.monotonic()
    net.wait_until("600 calls after, and 4 s", lambda: load.errors or (
        load.done() > stopped + while_stopped + 600 and time.monotonic() > resumed + 4), 30)
    log = load.stop()
    cap.stop()
    parsed = capture.check_ledger(t, cap.sink, lossless=False)
    t.check(while_stopped > 500, "the service stalled: %d calls in 5 s" % while_stopped)
    probe = capture.stage(parsed, "probe")
    t.check(probe["exits"]["ring_full"] > 0, "nothing was lost: the rings were not small enough")
    t.check(parsed["lost"], "the ledger names no loss")
    r = subprocess.run([t.program, "ledger", "-i", cap.sink, "--check", "--lossless"], check=False,
                       stdout=subprocess.DEVNULL)
    t.same("exit code of --lossless", 1, r.returncode)
    records = capture.export(t, cap.sink)
    exact, marked = right_or_flagged(t, log, records)
    t.same("calls_delivered", parsed["calls_delivered"], len(records))
    later = [x for x in log if x["sent"] > resumed + 2]
    missing = [x["call"] for x in later if x["call"] not in exact]
    t.check(len(later) > 100, "too few calls after it went on")
    t.check(not missing, "%d of %d calls made 2 s after it went on are missing" % (
        len(missing), len(later)))
    t.check(marked and len(exact) < len(log), "every call is whole: nothing was tested")
    oracle.check_record_numbers(records)


@test(each=["TERM", "INT"])
def P1_signal_ends_it(t, name):
    """Under load: exit 0 within seconds, a summary, all that was whole is delivered."""
    t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    load = workload.Load("127.0.0.1", PORT, 4, mixed_request)
    net.wait_until("500 calls", lambda: load.done() > 500 or load.errors, 20)
    before = {x["call"] for log in load.logs for x in log[:-3]}
    ids = net.program_ids(cap.pid)
    start = time.monotonic()
    cap.stop(getattr(signal, "SIG" + name))
    t.check(time.monotonic() - start < 5, "took %.1f s to end" % (time.monotonic() - start))
    t.check(not net.ids_that_exist("link", ids["link"]), "still attached")
    log = load.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    exact, _ = right_or_flagged(t, log, records)
    t.check(before <= set(exact), "%d calls that had ended are missing" % len(before - set(exact)))
    t.check(re.search(r"\d+ calls", cap.errors()), "no summary: " + cap.errors())
    t.check("lost: nothing" in cap.errors(), "losses: " + cap.errors())


@test()
def limit_calls(t):
    t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--limit", "calls=10")
    load = workload.Load("127.0.0.1", PORT, 1, mixed_request)
    t.same("exit code", 0, cap.wait(20))
    log = load.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    t.same("records", 10, len(records))
    oracle.match(log[:10], records)


@test()
def limit_time(t):
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--limit", "time=2s")
    start = time.monotonic()
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
    t.same("exit code", 0, cap.wait(20))
    took = time.monotonic() - start
    t.check(1.5 < took < 4, "ended after %.1f s" % took)
    t.finish(cap, service.read_log(log))


@test()
def sample_10_percent(t):
    """-s 10%: all are counted, about a tenth is recorded, weight 10, no wrong one."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "-s", "10%")
    with Client("127.0.0.1", PORT) as c:
        for n in range(1500):
            c.call("GET", "/bytes?n=%d" % (n % 100))
    cap.stop()
    parsed = capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    t.check(90 <= len(records) <= 220, "%d of 1500 were kept" % len(records))
    kept = {oracle.call_of(r) for r in records}
    oracle.match([x for x in service.read_log(log) if x["call"] in kept], records)
    t.same("weight", {10.0}, {r["weight"] for r in records})
    sample = capture.stage(parsed, "sample")
    t.same("calls seen", 1500, sample["in"])
    t.same("calls sampled out", 1500 - len(records), sample["exits"]["sampled_out"])
    oracle.check_record_numbers(records)


@test()
def connections_50_percent(t):
    """--connections 50%: a connection is recorded whole or not at all; the rest is counted."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--connections", "50%")
    for _ in range(120):
        with Client("127.0.0.1", PORT) as c:
            for n in range(3):
                c.call("GET", "/bytes?n=%d" % (n * 100))
    cap.stop()
    parsed = capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    kept = {r["client"] for r in records}
    t.check(35 <= len(kept) <= 85, "%d of 120 connections were kept" % len(kept))
    oracle.match([x for x in service.read_log(log) if x["client"] in kept], records)
    t.same("weight", {2.0}, {r["weight"] for r in records})
    t.check(capture.stage(parsed, "probe")["exits"]["sampled_out"] > 0, "nothing was sampled out")


@test()
def ready_file(t):
    """It appears only once mirroring works: a call made right after it is never missed."""
    log = t.service(PORT)
    for back_end in (t.attach("cgroup"), "socket", "pcap"):
        open(log, "w", encoding="utf-8").close()
        cap = t.capture("-p", str(PORT), "-a", back_end, wait=False)
        t.check(not os.path.exists(cap.ready), "the ready file was there at once")
        net.wait_until("ready", lambda c=cap: os.path.exists(c.ready), 15, 0.0005)
        with Client("127.0.0.1", PORT) as c:
            c.call("GET", "/echo")
        t.finish(cap, service.read_log(log))


@test()
def redaction(t):
    """By default secrets do not leave the process, with --no-redact they do."""
    t.service(PORT)
    caps = [t.capture("-p", str(PORT), "-a", t.attach("cgroup"), redact=r) for r in (True, False)]
    canary = "c4n4ry-%d" % os.getpid()
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo?access_token=%s&x=1" % canary,
               [["Authorization", "Bearer " + canary], ["Cookie", "sid=" + canary],
                ["X-Api-Key", canary]])
    for cap in caps:
        cap.stop()
        capture.check_ledger(t, cap.sink)
    hidden, shown = (capture.export(t, cap.sink)[0] for cap in caps)
    t.check(canary not in str(hidden), "a secret got out: %s" % hidden)
    t.check("redacted" in hidden["flags"], "flag redacted missing")
    t.same("a header", "Bearer " + canary, dict(oracle.headers_of(shown["request"]))["Authorization"])


# --- pipes and terminals


@test(ledger=False)
def stdout_closed(t):
    """`sidetap capture | head -1`: one line, a quiet end."""
    t.service(PORT)
    r, w = os.pipe()
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), sink="print:", stdout=w)
    os.close(w)
    stop = threading.Event()

    def calls():
        with Client("127.0.0.1", PORT) as c:
            while not stop.is_set():
                c.call("GET", "/bytes?n=100")
    caller = threading.Thread(target=calls)
    caller.start()
    with os.fdopen(r, "rb") as pipe:
        line = pipe.readline().decode()
    t.check("/bytes" in line and "200" in line, "the line reads %r" % line)
    try:
        code = cap.wait(10)
    finally:
        stop.set()
        caller.join()
    t.check(code == 0, "it ended with %s: %s" % (code, cap.errors()))
    t.check(not re.search("[Ee]rror|[Bb]roken pipe", cap.errors()), "it complained: " + cap.errors())


@test(ledger=False)
def print_lines(t):
    """No sink named: one line a call, as it ends."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), sink=None)
    with Client("127.0.0.1", PORT) as c:
        for n in range(5):
            c.call("GET", "/bytes?n=%d" % n)
        c.call("GET", "/status?code=503")
        net.wait_until("six lines", lambda: len(cap.output().splitlines()) >= 6, 5)
    cap.stop()
    lines = cap.output().splitlines()
    t.same("lines", 6, len(lines))
    for x, line in zip(service.read_log(log), lines):
        for text in (x["client"], x["server"], x["method"], x["target"], str(x["status"]), "http1"):
            t.check(text in line, "%r is not in %r" % (text, line))


@test()
def P10_stderr_closed(t):
    """No descriptor is mistaken for it: the data files hold records only."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"),
                    wrap=["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh"])
    with Client("127.0.0.1", PORT) as c:
        for n in range(50):
            c.call("GET", "/bytes?n=%d" % n)
    t.finish(cap, service.read_log(log))


@test()
def P10_stderr_full_pipe(t):
    """A log that nobody reads does not stop the capture."""
    log = t.service(PORT)
    r, w = os.pipe()
    os.set_blocking(w, False)
    try:
        while True:
            os.write(w, b"x" * 65536)
    except BlockingIOError:
        pass
    os.set_blocking(w, True)
    sink = "file:" + t.path("full")
    ready = t.path("full.ready")
    p = subprocess.Popen([t.program, "capture", "-p", str(PORT), "-a", t.attach("cgroup"),
                          "--no-redact", "-o", sink, "--ready-file", ready], stderr=w,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         preexec_fn=net.die_with_parent)
    try:
        net.wait_until("ready", lambda: os.path.exists(ready) or p.poll() is not None, 10)
        with Client("127.0.0.1", PORT) as c:
            for n in range(50):
                c.call("GET", "/bytes?n=%d" % n)
        p.terminate()
        t.same("exit code", 0, p.wait(15))
    finally:
        p.kill()
        os.close(r)
        os.close(w)
    capture.check_ledger(t, sink)
    oracle.match(service.read_log(log), capture.export(t, sink))


@test()
def silent_port_is_explained(t):
    """Nothing for 5 s: one line says on which ports bytes move, unasked."""
    t.service(PORT)
    load = workload.Load("127.0.0.1", PORT, 1, mixed_request)
    cap = t.capture("-p", "9999", "-a", t.attach("cgroup"))
    net.wait_until("a line about port 9080: " + cap.errors(), lambda: "9080" in cap.errors(), 9, 0.1)
    cap.stop()
    load.stop()
    capture.check_ledger(t, cap.sink)
    t.same("records", [], capture.export(t, cap.sink))


@test()
def file_sink_never_overwrites(t):
    """Two runs into one directory: the files of both stay, both are proven."""
    log = t.service(PORT)
    sink = "file:" + t.path("both")
    for _ in range(2):
        cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), sink=sink)
        with Client("127.0.0.1", PORT) as c:
            c.call("GET", "/echo")
        cap.stop()
    parsed = capture.check_ledger(t, sink)
    records = capture.export(t, sink)
    oracle.match(service.read_log(log), records)
    t.same("instances in the ledger", 2, len(parsed["instances"]))


@test(timeout=30)
def F10_start_is_quick(t):
    """Attached and ready within 2 s, whatever else."""
    log = t.service(PORT)
    start = time.monotonic()
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    took = time.monotonic() - start
    t.check(took < 2, "ready after %.2f s" % took)
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
    t.finish(cap, service.read_log(log))


@test()
def F12_no_listener(t):
    """No inbound TCP or UDP of its own, and after attaching no capability and no new privilege."""
    log = t.service(PORT)
    before = net.run("ss", "-Hltun") if os.access("/usr/bin/ss", os.X_OK) else ""
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--no-reattach")
    after = net.run("ss", "-Hltun") if before else ""
    t.same("listeners", before, after)
    with open("/proc/%d/status" % cap.pid, encoding="utf-8") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    t.same("NoNewPrivs", "1", status["NoNewPrivs"])
    kept = int(status["CapEff"], 16)
    forbidden = {"SYS_ADMIN": 21, "SYS_MODULE": 16, "DAC_OVERRIDE": 1, "NET_ADMIN": 12, "BPF": 39,
                 "SETUID": 7, "NET_RAW": 13}
    held = [name for name, bit in forbidden.items() if kept >> bit & 1]
    t.check(not held, "capabilities still effective: %s (%s)" % (held, status["CapEff"]))
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
    t.finish(cap, service.read_log(log))
