# SPDX-License-Identifier: Apache-2.0
"""A capture that runs, changed and asked: reload, ctl, pause, metrics, logs, the sandbox."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess

from kit import capture, http1, net, oracle, service, workload
from kit.case import test
from kit.client import Client

PORT = 9080
NOBODY = 65534


def own_run(t):
    """A /run/sidetap of this test's own: its capture is the only one there."""
    os.makedirs("/run/sidetap", exist_ok=True)
    net.run("mount", "-t", "tmpfs", "-o", "mode=0700", "none", "/run/sidetap")


def ctl(t, *args, expect=0, program=None, text=None, wrap=(), env=None):
    """What it says on stdout; on stderr when it was expected to fail."""
    r = subprocess.run([*wrap, program or t.program, "ctl", *args], check=False, text=True,
                       input=text if text is not None else "", stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=30, env={**os.environ, **(env or {})})
    t.same("exit code of ctl %s (%s%s)" % (" ".join(args), r.stdout, r.stderr), expect, r.returncode)
    return r.stderr if expect else r.stdout


def status(t, *args):
    return json.loads(ctl(t, "status", "--json", *args))


def write(path, text):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(path + ".new", path)


def start(t, *options, text="sample: 100%\n", **how):
    """(capture, path of its configuration)"""
    own_run(t)
    path = t.path("tap.yaml")
    write(path, text)
    return t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "-c", path, *options, **how), path


def calls(n, size=10):
    with Client("127.0.0.1", PORT) as c:
        for k in range(n):
            c.call("POST", "/echo", body=http1.pattern(size, k))


class ConfigMap:
    """A directory as the kubelet fills it: FILE -> ..data/FILE, and ..data swapped by rename."""

    def __init__(self, directory, name):
        self.directory, self.name, self.count = directory, name, 0
        os.mkdir(directory)

    def put(self, text):
        self.count += 1
        data = "..%d" % self.count
        os.mkdir(os.path.join(self.directory, data))
        with open(os.path.join(self.directory, data, self.name), "w", encoding="utf-8") as f:
            f.write(text)
        tmp = os.path.join(self.directory, "..data_tmp")
        os.symlink(data, tmp)
        os.rename(tmp, os.path.join(self.directory, "..data"))
        if self.count == 1:
            os.symlink("..data/" + self.name, self.path())
        else:
            old = os.path.join(self.directory, "..%d" % (self.count - 1))
            os.unlink(os.path.join(old, self.name))
            os.rmdir(old)

    def path(self):
        return os.path.join(self.directory, self.name)


def kept(message):
    return len(oracle.body_of(message))


@test(timeout=150)
def C2_thousand_swaps_under_load(t):
    """Each call is wholly of one configuration, by hash and version; the last one stays."""
    own_run(t)
    size, limits = 5000, (100, 3000)
    m = ConfigMap(t.path("config"), "tap.yaml")
    m.put("body-limit: %d\n" % limits[0])
    t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "-c", m.path())
    load = workload.Load("127.0.0.1", PORT, 3, lambda c, n: c.call(
        "POST", "/echo", body=http1.pattern(size, n)))
    for n in range(1, 1001):
        m.put("body-limit: %d\n" % limits[n % 2])
        if n % 10 == 0:
            cap.proc.send_signal(signal.SIGHUP)
        if n % 25 == 0:
            ctl(t, "reload")
    m.put("body-limit: 777\n")
    net.wait_until("the last one", lambda: status(t)["config"]["version"] and ctl(
        t, "reload", "--json") and json.loads(ctl(t, "reload", "--json"))["changed"] is False, 10)
    log = load.stop()
    calls(1, size)
    config = status(t)["config"]
    t.same("refused", 0, config["refused"])
    t.check(config["version"] > 100, "only %d versions" % config["version"])
    ctl(t, "ledger", "--check")
    cap.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    t.same("records", len(log) + 1, len(records))
    by_hash, by_version = {}, {}
    for r in records:
        c = r["capture"]
        by_hash.setdefault(c["config_hash"], set()).update((kept(r["request"]), kept(r["response"])))
        by_version.setdefault(c["config_version"], set()).add((c["config_hash"], c["config_unix_ns"]))
    t.same("limits by configuration", [[100], [777], [3000]], sorted(map(sorted, by_hash.values())))
    t.check(all(len(v) == 1 for v in by_version.values()), "a version with two hashes or times")
    t.check(len(by_version) > 20, "only %d versions in the records" % len(by_version))
    last = max(records, key=lambda r: r["record_number"])
    t.same("last version", config["version"], last["capture"]["config_version"])
    t.same("last hash", config["hash"], last["capture"]["config_hash"])


@test()
def C1_bad_file_is_refused(t):
    """With its line and column; the old one stays, also when the file vanishes; then a good one is taken."""
    log = t.service(PORT)
    cap, path = start(t)
    was = status(t)["config"]
    for text, said in (("sample: 100%\nsampel: 1%\n", ":2:1: sampel: no such key"),
                       ("sample: 300%\n", ":1:9: sample: '300%' is more than all"),
                       ("\0\1\2", ":1:"), ("", ":1:1: "), ("rules: [{name: a, drop: maybe}]\n", ":1:"),
                       ("#" * (1 << 20) + "\n", ":1:1: larger than 1 MiB")):
        write(path, text)
        t.check(said in ctl(t, "reload", expect=1), "%r is not in the answer for %.40r" % (said, text))
        t.check(path + said in cap.errors(), "%r is not in the log" % said)
        now = status(t)["config"]
        t.same("version", was["version"], now["version"])
        t.same("hash", was["hash"], now["hash"])
        t.check(said in now["error"], "the status does not tell: %s" % now)
        t.check(said in ctl(t, "status"), "not on the screen")
    os.unlink(path)
    t.check("No such file" in ctl(t, "reload", expect=1), "a missing file")
    write(path, "sample: 0\n")
    net.wait_until("the good one", lambda: status(t)["config"]["version"] == 2, 10)
    t.check("error" not in status(t)["config"], "an error stays in the status")
    calls(3)
    net.wait_until("their calls", lambda: status(t)["traffic"]["calls_seen"] == 3, 10)
    write(path, "port: 1\nattach: socket\nspool-size: 2MiB\n")
    net.wait_until("the third", lambda: status(t)["config"]["version"] == 3, 10)
    for name in ("spool-size",):
        t.check("reload: %s cannot change while it runs" % name in cap.errors(), cap.errors())
    t.check("attach cannot" not in cap.errors(), "a flag's value is no change: " + cap.errors())
    with open(log, "w", encoding="utf-8"):
        pass
    calls(3)
    cap.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    t.same("versions", {3}, {r["capture"]["config_version"] for r in records})
    t.same("records", 3, len(records))


@test()
def reload_by_signal(t):
    """SIGHUP reads the file again; a capture without a file ends by it, in order."""
    log = t.service(PORT)
    cap, path = start(t)
    with open(path, "r+", encoding="utf-8") as f:  # in place, and not closed: nobody tells
        f.write("sample: 99% ")
        f.flush()
        cap.proc.send_signal(signal.SIGHUP)
        net.wait_until("version 2", lambda: status(t)["config"]["version"] == 2, 10)
    t.same("sample", 0.99, status(t)["sampling"]["sample"])
    write(path, "sample: 100%\n")
    net.wait_until("version 3", lambda: status(t)["config"]["version"] == 3, 10)
    calls(2)
    t.finish(cap, service.read_log(log))
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    cap.stop(signal.SIGHUP)
    capture.check_ledger(t, cap.sink)


@test()
def pause_and_resume(t):
    """Detached for real; what was open has ended; then joined late, and the ledger is exact."""
    t.service(PORT)
    cap, _ = start(t)
    links = net.program_ids(cap.pid)["link"]
    t.check(net.ids_that_exist("link", links), "no link is seen")
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
        wire = c.build("GET", "/echo")[1]
        c.sock.sendall(wire[:20])  # half a request is open when it pauses
        net.wait_until("its bytes", lambda: status(t)["traffic"]["connections"] == 1, 10)
        ctl(t, "pause")
        t.same("state", "paused", status(t)["attach"]["state"])
        t.check(not net.ids_that_exist("link", links), "still attached")
        t.same("connections", 0, status(t)["traffic"]["connections"])
        c.sock.sendall(wire[20:])
        c.stream.line()
        c.stream.headers()
        t.check("it is paused" in ctl(t, "pause", expect=1), "paused twice")
        calls(5)
        ctl(t, "ledger", "--check")
        before = status(t)["traffic"]["packets"]
        ctl(t, "resume")
        t.check(net.program_ids(cap.pid)["link"], "not attached again")
        calls(3)
        net.wait_until("new packets", lambda: status(t)["traffic"]["packets"] > before, 10)
        t.same("attachments", 2, status(t)["attach"]["count"])
    t.check("it is not paused" in ctl(t, "resume", expect=1), "resumed twice")
    ctl(t, "ledger", "--check")
    ctl(t, "stop")
    t.same("exit code", 0, cap.wait())
    parsed = capture.check_ledger(t, cap.sink, lossless=False)
    records = capture.export(t, cap.sink)
    t.same("whole calls", 4, len([r for r in records if r["status_code"] == 200]))
    t.same("instances", 1, len(parsed["instances"]))


@test()
def pause_under_load(t):
    """Ten times, with connections that live on: every record is right or marked, the ledger exact."""
    t.service(PORT)
    cap, _ = start(t)
    load = workload.Load("127.0.0.1", PORT, 4, lambda c, n: c.call(
        "POST", "/echo", body=http1.pattern(n % 7 * 500 + 1, n)))
    for _ in range(10):
        done = load.done()
        net.wait_until("calls", lambda d=done: load.done() > d + 40 or load.errors, 20)
        ctl(t, "pause")
        ctl(t, "ledger", "--check")
        ctl(t, "resume")
    log = load.stop()
    cap.stop()
    capture.check_ledger(t, cap.sink, lossless=False)
    records = capture.export(t, cap.sink)
    made = {x["call"]: x for x in log}
    d = oracle.Differences()
    whole = 0
    for r in records:
        if r.get("flags") or "response" not in r or "request" not in r:
            continue
        whole += 1
        oracle.check_call(d, made[oracle.call_of(r)], r, 1 << 20, ())
    d.verdict()
    # those before the first pause; later ones are mostly marked as joined late
    t.check(whole >= 40, "only %d whole calls" % whole)


@test()
def sampling_set(t):
    """Rules from a file, at once; refused with the place of what is wrong; shown; counted by rule."""
    t.service(PORT)
    cap, _ = start(t, "-s", "100%")
    calls(4)
    rules = t.path("rules.yaml")
    write(rules, "rules:\n  - {name: none, match: {method: POST}, drop: true}\n")
    t.check("version 2" in ctl(t, "sampling", "set", rules), "no version")
    calls(4)
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
    net.wait_until("its calls", lambda: status(t)["traffic"]["calls_seen"] == 9, 10)
    shown = {r["name"]: r for r in json.loads(ctl(t, "sampling", "--json"))["sampling"]["rules"]}
    t.same("dropped", (4, 0), (shown["none"]["seen"], shown["none"]["kept"]))
    t.check("rule none: seen 4, kept 0" in ctl(t, "sampling", "show"), ctl(t, "sampling"))
    for text, said in (("sample: 2\n", "stdin:1:9: sample: '2'"), ("port: 1\n", "not for here")):
        t.check(said in ctl(t, "sampling", "set", "-", expect=1, text=text), said)
    ctl(t, "sampling", "set", t.path("nowhere"), expect=2)
    ctl(t, "sampling", "set", expect=2)
    cap.stop()
    capture.check_ledger(t, cap.sink)
    t.same("records", 5, len(capture.export(t, cap.sink)))


@test(each=["cgroup", "socket", "pcap"])
def connections_change(t, kind):
    """All, none, half, all: what falls out ends, what comes back is joined late; a record weighs by its share."""
    log = t.service(PORT)
    cap, path = start(t, "-a", t.attach(kind), text="connections: 100%\n")
    clients = [Client("127.0.0.1", PORT) for _ in range(16)]

    def change(share, version):
        write(path, "connections: %s\n" % share)
        net.wait_until("version %d" % version, lambda: status(t)["config"]["version"] == version, 10)

    def call_twice(at_least):
        for _ in range(2):
            for c in clients:
                c.call("GET", "/bytes?n=100")
        net.wait_until("%d calls" % at_least, lambda: status(t)["traffic"]["calls_seen"] >= at_least, 10)

    call_twice(32)
    change("0", 2)
    call_twice(32)
    change("50%", 3)
    call_twice(33)
    change("100%", 4)
    call_twice(33 + 16)
    for c in clients:
        c.close()
    cap.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    made = [sum(r["capture"]["config_version"] == v for r in records) for v in (1, 2, 3, 4)]
    half = made[2]
    # joined late, a connection's first call is where it finds its place
    t.same("calls of each version", [32, 0, half, 16 + half], made)
    t.check(0 < half < 16, "of half the connections: %d of 16" % half)
    t.same("weights", [(1, 1.0), (3, 2.0), (4, 1.0)],
           sorted({(r["capture"]["config_version"], r["weight"]) for r in records}))
    seen = {oracle.call_of(r) for r in records}
    oracle.match([x for x in service.read_log(log) if x["call"] in seen], records, flags=("late_join",), numbers=False)


@test()
def ctl_finds_it(t):
    """None, one, two, another place; exit codes; what it prints is one screen."""
    own_run(t)
    t.check("no capture is running" in ctl(t, "status", expect=1), "none")
    t.service(PORT)
    options = ("-p", str(PORT), "-a", t.attach("cgroup"))
    cap = t.capture(*options)
    calls(2)
    screen = ctl(t, "status")
    t.check(len(screen.splitlines()) <= 24, "more than a screen:\n" + screen)
    for word in ("attached", "traffic", "calls", "sampling", "lost", "sink", "limits", "budget", "config",
                 "loop", cap.sink, str(cap.pid)):
        t.check(word in screen, "%s is not in:\n%s" % (word, screen))
    t.check("(--no-reattach" not in screen, screen)
    two = t.capture(*options, "--socket", os.path.join("/run/sidetap", "second.sock"))
    said = ctl(t, "status", expect=2)
    t.check("2 captures are running" in said and "second.sock" in said, said)
    t.same("its pid", two.pid, status(t, "--socket", "/run/sidetap/second.sock")["pid"])
    two.proc.kill()
    two.wait()
    t.same("the other's pid", cap.pid, status(t)["pid"])  # a dead socket is passed over
    three = t.capture(*options, "--socket", "none")
    t.same("the other's pid", cap.pid, status(t)["pid"])
    three.stop()
    for args in (["stauts"], ["status", "--check"], ["status", "now"], [], ["--nonsense", "status"]):
        ctl(t, *args, expect=2)
    t.check("did you mean status" in ctl(t, "stauts", expect=2), "no hint")
    t.check("No such file" in ctl(t, "status", "--socket", "/none/x", expect=1) or "no capture" in ctl(
        t, "status", "--socket", "/none/x", expect=1), "a wrong place")
    t.check("reload" in ctl(t, "--help"), "help")
    net.run("sh", "-c", ": > %s" % t.path("plain"))
    bad = subprocess.run([t.program, "capture", *options, "-o", "null:", "--socket", t.path("plain")],
                         check=False, stderr=subprocess.PIPE, text=True, timeout=20)
    t.same("an unsafe --socket", 2, bad.returncode)
    t.check("socket" in bad.stderr, bad.stderr)
    cap.stop()
    capture.check_ledger(t, cap.sink)
    t.same("left behind", ["second.sock"], os.listdir("/run/sidetap"))
    t.capture(*options).stop()  # the next one clears what the killed one left
    t.same("left behind", [], os.listdir("/run/sidetap"))


@test()
def V10_not_root_ctl(t):
    """As another user with ambient capabilities: sandbox, socket in $XDG_RUNTIME_DIR, reload, pause."""
    net.run("mount", "-t", "tmpfs", "-o", "mode=1777", "none", "/mnt")
    net.run("cp", t.program, "/mnt/sidetap")
    os.mkdir("/mnt/run")
    os.chown("/mnt/run", NOBODY, NOBODY)
    os.chmod("/mnt/run", 0o700)
    caps = "-all,+bpf,+net_admin,+perfmon"
    user = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    wrap = [*user, "--bounding-set", caps, "--inh-caps", caps, "--ambient-caps", caps, "--"]
    env = {"XDG_RUNTIME_DIR": "/mnt/run"}
    write("/mnt/tap.yaml", "sample: 100%\n")
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", "cgroup:" + t.cgroup, "-c", "/mnt/tap.yaml",
                    sink="file:/mnt/records", wrap=wrap, env=env, ready="/mnt/ready",
                    program="/mnt/sidetap")
    who = {"program": "/mnt/sidetap", "env": env}
    calls(2)
    t.check("attached" in ctl(t, "status", wrap=user, **who), "status")
    sock = "/mnt/run/sidetap/" + os.listdir("/mnt/run/sidetap")[0]
    t.same("mode", 0o600, os.stat(sock).st_mode & 0o7777)
    t.check("attached" in ctl(t, "status", "--socket", sock), "root may ask")
    other = ["setpriv", "--reuid", "1", "--regid", "1", "--clear-groups"]
    ctl(t, "status", "--socket", sock, wrap=other, expect=1, program="/mnt/sidetap")
    ctl(t, "pause", wrap=user, **who)
    ctl(t, "resume", wrap=user, **who)
    calls(2)
    check_seccomp(t, cap)
    t.finish(cap, service.read_log(log))


def check_seccomp(t, cap):
    def main_thread():
        with open("/proc/%d/status" % cap.pid, encoding="utf-8") as f:
            return "Seccomp:\t2" in f.read()
    net.wait_until("the sandbox, which follows the ready file", main_thread, 10)
    for tid in os.listdir("/proc/%d/task" % cap.pid):
        with open("/proc/%d/task/%s/status" % (cap.pid, tid), encoding="utf-8") as f:
            text = f.read()
        for line in ("Seccomp:\t2", "NoNewPrivs:\t1"):
            t.check(line in text, "thread %s is without %s" % (tid, line))


@test(each=["file", "kafka", "no_reattach"])
def S14_every_thread_is_confined(t, kind):
    """Also threads that were there before, and those that start later; and it works."""
    own_run(t)
    log = t.service(PORT)
    options = ["--no-reattach"] if kind == "no_reattach" else []
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), *options,
                    sink="kafka:embedded" if kind == "kafka" else "file")
    calls(20)
    check_seccomp(t, cap)
    t.check("are confined" not in cap.errors() and "not confined" not in cap.errors(), cap.errors())
    if kind == "no_reattach":
        t.check("--no-reattach" in ctl(t, "pause", expect=1), "it could not attach again")
    if kind == "kafka":
        net.wait_until("acknowledged", lambda: status(t)["sink"]["delivered"] == 20, 15)
        ctl(t, "ledger", "--check")
        cap.stop()
        t.ledger_checked = True
        return
    t.finish(cap, service.read_log(log))


@test(each=["default", "no_reattach", "no_sandbox"])
def S14_loop_reads_only_its_files(t, kind):
    """Tried through the loop itself: its configuration becomes a link to a file elsewhere. And what looks, looks."""
    t.service(PORT)
    cap, path = start(t, *{"no_reattach": ["--no-reattach"], "no_sandbox": ["--no-sandbox"]}.get(kind, []))
    if kind != "no_sandbox":
        check_seccomp(t, cap)
    net.run("mount", "-t", "tmpfs", "none", "/mnt")
    write("/mnt/elsewhere.yaml", "sample: 1%\n")
    os.symlink("/mnt/elsewhere.yaml", path + ".link")
    os.rename(path + ".link", path)
    said = ctl(t, "reload", expect=0 if kind == "no_sandbox" else 1)
    t.check(kind == "no_sandbox" or "ermission denied" in said, "it read a file elsewhere: " + said)
    os.unlink(path)
    write(path, "sample: 100%\nbody-limit: 1KiB\n")
    ctl(t, "reload")
    if kind == "default":
        with open("/proc/%d/status" % cap.pid, encoding="utf-8") as f:
            caps = int(re.search(r"CapPrm:\s*(\w+)", f.read()).group(1), 16)
        t.same("CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH of the loop", 0, caps & (1 << 19 | 1 << 2))
        ctl(t, "pause")
        ctl(t, "resume")
    calls(20)
    cap.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    t.same("records", 20, len(records))
    if kind != "no_reattach":
        names = {r.get(side + "_process", "") for r in records for side in ("server", "client")}
        t.check(any(n.startswith("svc(") for n in names), "processes are not named: %s" % names)


@test(ledger=False)
def S14_names_and_tls_after_confinement(t):
    """A broker that comes later: its name is resolved and its certificate proved by confined threads."""
    port, key, cert = 9093, t.path("key.pem"), t.path("ca/cert.pem")
    os.mkdir(t.path("ca"))
    net.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert)
    t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--spool", t.path("spool"),
                    sink="kafka://localhost:%d/t?security.protocol=ssl&ssl.ca.location=%s"
                    "&reconnect.backoff.max.ms=200" % (port, cert))
    calls(1)
    check_seccomp(t, cap)
    out = t.path("s_server.out")
    with open(out, "wb") as f:
        server = subprocess.Popen(["openssl", "s_server", "-accept", str(port), "-cert", cert, "-key",
                                   key], stdin=subprocess.PIPE, stdout=f, stderr=f,
                                  preexec_fn=net.die_with_parent)

    def shaken():
        with open(out, encoding="utf-8", errors="replace") as f:
            return "CIPHER is" in f.read()
    net.wait_until("a handshake with the certificate", shaken, 20)
    server.kill()
    server.wait()
    cap.proc.kill()
    cap.wait()


@test()
def no_sandbox(t):
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--no-sandbox")
    calls(2)
    with open("/proc/%d/status" % cap.pid, encoding="utf-8") as f:
        t.check("Seccomp:\t0" in f.read(), "seccomp is on")
    t.finish(cap, service.read_log(log))


def http_get(port, path, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    c.request("GET", path, headers=headers or {})
    r = c.getresponse()
    return r.status, r.read().decode()


def metrics_port(cap):
    return int(net.wait_until("its port", lambda: re.search(r"metrics: 127\.0\.0\.1:(\d+)",
                                                            cap.errors()), 10).group(1))


@test()
def metrics_under_load(t):
    """On all ports: its own scrapes are not captured; every stage adds up in every scrape."""
    log = t.service(PORT)
    own_run(t)
    cap = t.capture("-a", t.attach("cgroup"), "--metrics", "127.0.0.1:0")
    port = metrics_port(cap)
    load = workload.Load("127.0.0.1", PORT, 3, lambda c, n: c.call("GET", "/bytes?n=%d" % (n % 900)))
    for n in range(40):
        code, text = http_get(port, "/metrics", {"Accept": "application/openmetrics-text"} if n % 2
                              else {})
        t.same("status", 200, code)
        residues = re.findall(r"^sidetap_stage_residue\{.*\} (\S+)$", text, re.M)
        t.check(len(residues) >= 8 and set(residues) == {"0"}, "residues %s" % residues)
        t.same("its end", bool(n % 2), text.endswith("# EOF\n"))
    t.same("ready", (200, "mirroring\n"), http_get(port, "/readyz"))
    ctl(t, "pause")
    t.same("paused", (503, "paused by sidetap ctl\n"), http_get(port, "/readyz"))
    t.same("health", (200, "ok\n"), http_get(port, "/healthz"))
    ctl(t, "resume")
    load.stop()
    cap.stop()
    capture.check_ledger(t, cap.sink, lossless=False)
    records = capture.export(t, cap.sink)
    t.check(records and not [r for r in records if ":%d" % port in r["server"] + r["client"]],
            "its own scrapes are in the records")
    t.check(len(service.read_log(log)) > 100, "too little load")


@test()
def C8_port_in_use(t):
    """Goes on without, and says so."""
    log = t.service(PORT)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        where = "127.0.0.1:%d" % taken.getsockname()[1]
        cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--metrics", where)
        t.check("metrics on %s" % where in cap.errors() and "goes on without" in cap.errors(),
                cap.errors())
        calls(2)
        t.finish(cap, service.read_log(log))


@test(each=["logfmt", "json"])
def S5_logs_for_machines(t, form):
    """One line an event from the first to the last, whatever a configuration says."""
    log = t.service(PORT)
    cap, path = start(t, "--log-format", form)
    write(path, "\"x\\r\\nsidetap: forged\\e[2J\u202e\": 1\n")
    net.wait_until("the refusal", lambda: "refused" in cap.errors(), 10)
    calls(1)
    t.finish(cap, service.read_log(log))
    lines = cap.errors().splitlines()
    t.check(len(lines) >= 4, "only %d lines" % len(lines))
    for line in lines:
        if form == "json":
            t.same("fields", {"ts", "level", "msg"}, set(json.loads(line)))
        else:
            t.check(re.fullmatch(r'ts=\S+Z level=(error|warn|info) msg="(\\.|[^"\\])*"', line),
                    "no logfmt: %r" % line)
        t.check(not re.search("[\x00-\x1f\u202e]", line), "not escaped: %r" % line)
    t.check(any("calls in" in line for line in lines), "no summary")


@test(ledger=False)
def C7_secrets_are_not_shown(t):
    """Neither a sink's password nor the environment, in status, metrics, logs and --check -v."""
    own_run(t)
    t.service(PORT)
    secret = "s3cr3t-canary-41"
    sink = "kafka://127.0.0.1:1/t?security.protocol=SASL_PLAINTEXT&sasl.mechanism=PLAIN" \
           "&sasl.username=u&sasl.password=" + secret
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--metrics", "127.0.0.1:0", "-vv",
                    "--spool", t.path("spool"), sink=sink, env={"SIDETAP_CANARY": secret})
    calls(1)
    _, text = http_get(metrics_port(cap), "/metrics")
    checked = net.run(t.program, "capture", "-o", sink, "--check", "-v")
    for what in (ctl(t, "status"), ctl(t, "status", "--json"), ctl(t, "ledger"), text, checked,
                 cap.errors(), net.run(t.program, "capture", "--help")):
        t.check(secret not in what, "it is in: %s" % what)
    cap.proc.kill()
    cap.wait()
