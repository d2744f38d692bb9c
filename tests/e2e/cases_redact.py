# SPDX-License-Identifier: Apache-2.0
"""Secrets do not leave: canaries through a real server, searched in all that the program writes (S1, S5, C7, P14)."""

import base64
import glob
import hashlib
import hmac
import json
import os
import secrets
import shutil
import signal
import subprocess

from cases_control import ctl, http_get, metrics_port
from cases_kafka import bootstrap_of, default_topic
from kit import capture, kafka, net
from kit.case import test
from kit.client import Client

PORT = 9080
KEY = "k3y-" + secrets.token_hex(16)
RULES = """
redact:
  key: env:REDACT_KEY
  headers: [x-tenant, {name: x-joined, action: hash}]
  query: [code]
  json: ["$..card", {path: $.joined, action: hash}]
  form: [pin]
  regex: [{pattern: "pth-[0-9a-f]{16}", on: path}, {pattern: "bdy-[0-9a-f]{16}", on: body}]
"""


class Canaries:
    def __init__(self):
        self.all = []

    def new(self, begin=""):
        self.all.append(begin + secrets.token_hex(8))
        return self.all[-1]

    def found_in(self, data):
        return [c for c in self.all if c.encode() in data]


def speak(k):
    """Calls with a canary at every place that the rules and the built-in lists name."""
    multipart = ("--b\r\nContent-Disposition: form-data; name=\"pin\"\r\n\r\n%s\r\n--b--\r\n" % k.new()).encode()
    jsons = json.dumps({"a": [{"card": k.new()}], "text": "a " + k.new("bdy-")}).encode()
    with Client("127.0.0.1", PORT) as c:
        c.call("POST", "/echo?access_token=%s&code=%s" % (k.new(), k.new()),
               [["AUTHORIZATION", "Bearer " + k.new()], ["authorization", "Basic " + k.new()],
                ["Cookie", "sid=" + k.new()], ["X-Api-Key", k.new()], ["X-Tenant", k.new()],
                ["Referer", "http://u:%s@h/?password=%s" % (k.new(), k.new())],
                ["Content-Type", "application/json"]], jsons, chunk=5,
               trailers=[("X-Auth-Token", k.new())])
        c.call_bytewise("POST", "/echo", [["Content-Type", "application/json"]], jsons)
        c.call("GET", "/bytes?n=1&path=" + k.new("pth-"))
        c.call("POST", "/bytes?n=2", [["Content-Type", "application/x-www-form-urlencoded"]],
               ("a=1&pin=" + k.new()).encode())
        c.call("POST", "/bytes?n=3", [["Content-Type", "multipart/form-data; boundary=b"]], multipart)
        c.call("POST", "/bytes?n=4", [["Content-Encoding", "gzip"]], k.new().encode())
    return 6


def configured(t):
    path = t.path("redact.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(RULES)
    return ("-p", str(PORT), "-a", t.attach("cgroup"), "-c", path)


def everything_in(directory):
    """All bytes below it; compressed files also as they unpack."""
    out = b""
    for path in glob.glob(os.path.join(directory, "**"), recursive=True):
        if os.path.isfile(path):
            with open(path, "rb") as f:
                out += f.read()
            if ".zst" in path:
                out += subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, check=False).stdout
    return out


def quiet(t, where, canaries, data):
    found = canaries.found_in(data)
    t.check(not found, "%d of %d canaries in %s: %s" % (len(found), len(canaries.all), where, found))


def told(t, where, canaries, data):
    """The guard: without redaction they are there."""
    missing = [c for c in canaries.all if c not in canaries.found_in(data)]
    t.check(not missing, "%s without redaction lacks %s" % (where, missing))


def of_file(t, cap):
    exported = json.dumps(capture.export(t, cap.sink)).encode()
    summary = json.dumps(capture.ledger(t, cap.sink)).encode()
    return exported + summary + everything_in(cap.sink[5:]) + cap.errors().encode()


@test(timeout=90)
def s1_canaries_in_files_and_lines(t):
    """File sink, printed lines with headers and bodies, stderr, exports, the ledger, admin answers, the command line."""
    t.service(PORT)
    env = {"REDACT_KEY": KEY}
    options = configured(t)
    socket = t.path("ctl")
    files = t.capture(*options, "--socket", socket, "--metrics", "127.0.0.1:0", redact=True, env=env)
    lines = t.capture(*options, "-vv", "-x", sink="print:", redact=True, env=env, name="print")
    plain = t.capture(*options[:4])
    plain_lines = t.capture(*options[:4], "-v", "-x", sink="print:", name="plain")
    k = Canaries()
    n = speak(k)
    with open("/proc/%d/cmdline" % files.pid, "rb") as f:
        command = f.read()
    admin = http_get(metrics_port(files), "/metrics")[1]
    for question in (["status"], ["status", "--json"], ["ledger"], ["ledger", "--json"], ["sampling", "show"]):
        admin += ctl(t, *question, "--socket", socket)
    for cap in (files, lines, plain, plain_lines):
        cap.stop()
    capture.check_ledger(t, plain.sink)
    parsed = capture.check_ledger(t, files.sink)
    t.same("calls", n, parsed["calls_delivered"])
    exits = capture.stage(parsed, "redact")["exits"]
    t.same("bodies that went for their coding", 1, exits["encoding"])
    t.check(exits["redacted"] >= 6, "bodies redacted: %s" % exits)
    quiet(t, "the file sink", k, of_file(t, files))
    quiet(t, "metrics and admin answers", k, admin.encode())
    quiet(t, "what is printed", k, (lines.output() + lines.errors()).encode())
    told(t, "the file sink", k, of_file(t, plain))
    told(t, "what is printed", k, plain_lines.output().encode())
    t.check("[redacted]" in lines.output(), "nothing redacted was printed")
    for where, data in (("stderr", lines.errors() + files.errors()), ("print", lines.output()),
                        ("the command line", command.decode()), ("admin answers", admin), ("records", of_file(t, files).decode("latin-1"))):
        t.check(KEY not in data, "the key stands in " + where)


@test(timeout=90)
def s1_canaries_in_kafka_and_spool(t):
    """Messages with their headers in both topics; the spool's files while the broker is away."""
    t.service(PORT)
    env = {"REDACT_KEY": KEY}
    options = configured(t)
    embedded = t.capture(*options, sink="kafka:embedded", redact=True, env=env)
    away = "kafka://127.0.0.1:9/calls?socket.connection.setup.timeout.ms=1000"
    spools = [t.path("spool-hidden"), t.path("spool-plain")]
    spooled = t.capture(*options, "--spool", spools[0], sink=away, redact=True, env=env, name="spool")
    plain = t.capture(*options[:4], "--spool", spools[1], sink=away, name="plain")
    k = Canaries()
    n = speak(k)
    bootstrap = bootstrap_of(embedded)
    topic = default_topic(bootstrap)

    def messages(name):
        return kafka.consume(bootstrap, name)
    net.wait_until("calls in Kafka", lambda: len(messages(topic)) == n, 20)
    data = b"".join(repr((m.key, m.headers)).encode() + m.value
                    for name in (topic, topic + ".ledger") for m in messages(name))
    quiet(t, "Kafka", k, data)
    t.check(b"[redacted]" in data, "nothing redacted is in Kafka")
    embedded.stop()
    for cap in (spooled, plain):
        cap.stop(seconds=60, expect=cap.proc.wait(60) if cap.proc.poll() is not None else 0)
    quiet(t, "the spool", k, everything_in(spools[0]) + spooled.errors().encode())
    told(t, "the spool", k, everything_in(spools[1]))
    t.ledger_checked = True  # the broker that has it is gone with its capture


@test()
def hashes_join(t):
    """The same secret has the same token in a header and in JSON, and whoever has the key can make it."""
    t.service(PORT)
    cap = t.capture(*configured(t), redact=True, env={"REDACT_KEY": KEY})
    secret = secrets.token_hex(8)
    with Client("127.0.0.1", PORT) as c:
        c.call("POST", "/bytes?n=1", [["X-Joined", secret], ["Content-Type", "application/json"]],
               json.dumps({"joined": secret}).encode())
    cap.stop()
    capture.check_ledger(t, cap.sink)
    call = capture.export(t, cap.sink)[0]
    token = "[h:%s]" % hmac.new(KEY.encode(), secret.encode(), hashlib.sha256).hexdigest()[:32]
    headers = {h["name"]: h.get("value") for h in call["request"]["headers"]}
    t.same("the header's token", token, headers["X-Joined"])
    t.same("the body's token", {"joined": token}, json.loads(base64.b64decode(call["request"]["body_base64"])))


@test(ledger=False)
def p14_no_core(t):
    """A crash leaves no core, and nobody of the same user can read the process's memory."""
    t.service(PORT)
    directory = t.path("cwd")
    os.mkdir(directory)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), redact=True,
                    wrap=("sh", "-c", "ulimit -c unlimited; cd \"$0\" && exec \"$@\"", directory))
    k = Canaries()
    speak(k)
    with open("/proc/%d/limits" % cap.pid, encoding="utf-8") as f:
        core = next(line for line in f if line.startswith("Max core file size"))
    t.same("limits of a core", ["0", "0"], core.split()[4:6])
    if shutil.which("gcore"):  # by root, who may
        net.run("gcore", "-o", t.path("by-root"), str(cap.pid))
        with open(t.path("by-root.%d" % cap.pid), "rb") as f:
            quiet(t, "root's gcore", k, f.read())
    with open("/proc/%d/coredump_filter" % cap.pid, encoding="utf-8") as f:
        t.same("kinds of memory in a core", 0, int(f.read(), 16))
    cap.stop(sig=signal.SIGABRT, expect=-signal.SIGABRT)
    t.same("files that a crash left", [], os.listdir(directory))


@test(ledger=False)
def p14_memory_is_not_readable(t):
    """gcore by the same user: /proc/PID/mem belongs to root, ptrace is refused."""
    nobody = 65534
    os.chmod(t.directory, 0o777)
    r, w = os.pipe()
    cap = subprocess.Popen([t.program, "capture", "-r", "-", "-q", "-o", "null:"], stdin=r,
                           stderr=subprocess.DEVNULL, user=nobody, group=nobody, extra_groups=[],
                           preexec_fn=net.die_with_parent)
    os.close(r)
    try:
        mem = "/proc/%d/mem" % cap.pid
        net.wait_until("not dumpable", lambda: os.stat(mem).st_uid == 0, 10)
        reader = subprocess.run(["head", "-c", "1", mem], user=nobody, group=nobody, extra_groups=[],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        t.check(b"denied" in reader.stderr or b"permitted" in reader.stderr,
                "%s could be opened: %r" % (mem, reader.stderr))
    finally:
        os.close(w)
        cap.wait(20)


@test(ledger=False)
def c1_bad_rules_are_refused(t):
    """At start, with their place and what is allowed; the same with --check."""
    path = t.path("bad.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write("port: 80\nredact:\n  json: [user.password]\n")
    for options in (["--check"], []):
        r = subprocess.run([t.program, "capture", "-c", path, *options], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, check=False, timeout=20)
        t.same("exit code", 2, r.returncode)
        t.check(r.stderr.startswith("%s:3:10: redact.json: 'user.password'" % path),
                "it says %s" % r.stderr)
        t.check("allowed are paths such as" in r.stderr, "it does not say what is allowed")
