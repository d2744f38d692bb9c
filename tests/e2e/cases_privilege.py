# SPDX-License-Identifier: Apache-2.0
"""Missing privileges: a clear reason, the next back end, exit code 3 at the end of the chain."""

import os
import subprocess
import sys

from kit import capture, net, oracle, proxies, service, workload
from kit.case import test

PORT = 9080


def public(t):
    """A copy of the program and room to write for any user, in this test's mount namespace."""
    net.run("mount", "-t", "tmpfs", "-o", "mode=1777", "none", "/mnt")
    net.run("cp", t.program, "/mnt/sidetap")
    return "/mnt/sidetap"


def only(*caps, uid=None):
    """setpriv arguments: exactly these capabilities, for root or (ambient) another user."""
    sets = ",".join(["-all"] + ["+" + c for c in caps])
    argv = ["setpriv", "--bounding-set", sets, "--inh-caps", sets]
    if uid is not None:
        argv += ["--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--ambient-caps", sets]
    return argv + ["--"]


def start(t, attach, wrap, wait=True, **how):
    program = public(t) if not os.path.exists("/mnt/sidetap") else "/mnt/sidetap"
    return t.capture("-p", str(PORT), "-a", attach, sink="file:/mnt/records-%d" % t.count,
                     wrap=wrap, wait=wait, ready="/mnt/ready-%d" % t.count, program=program, **how)


def works(t, attach, wrap, back_end, **how):
    log = t.service(PORT)
    cap = start(t, attach, wrap, **how)
    workload.odd_calls("127.0.0.1", PORT, [])
    records = t.finish(cap, service.read_log(log))
    t.same("back end", {back_end}, {r["capture"]["attach"] for r in records})
    return cap


def refused(t, attach, wrap, words, **how):
    """Exit code 3, and each back end's reason."""
    cap = start(t, attach, wrap, wait=False, **how)
    t.same("exit code", 3, cap.wait(20))
    for word in words:
        t.check(word.lower() in cap.errors().lower(), "%r is not in: %s" % (word, cap.errors()))


@test()
def V1_no_bpf_falls_back_to_pcap(t):
    cap = works(t, "auto", only("net_raw"), "pcap")
    for back_end in ("cgroup", "socket"):
        t.check(back_end in cap.errors(), "does not say why not %s: %s" % (back_end, cap.errors()))


@test()
def V1_net_admin_without_bpf(t):
    works(t, "auto", only("net_admin", "net_raw"), "pcap")


@test(ledger=False)
def V2_bpf_without_net_admin(t):
    refused(t, "cgroup:" + t.cgroup, only("bpf"), ["cgroup", "NET_ADMIN"])


@test()
def V2_bpf_and_net_raw_is_socket(t):
    works(t, "auto", only("bpf", "net_raw"), "socket")


@test()
def V3_bpf_and_net_admin_is_cgroup(t):
    works(t, "cgroup:" + t.cgroup, only("bpf", "net_admin"), "cgroup")


@test(ledger=False)
def V2_nothing_allowed(t):
    refused(t, "auto", only(), ["cgroup", "socket", "pcap", "CAP_"])


@test(ledger=False)
def V2_nothing_allowed_as_nobody(t):
    refused(t, "auto", only(uid=65534), ["cgroup", "socket", "pcap", "CAP_"])


@test()
def V10_not_root_with_capabilities(t):
    works(t, "cgroup:" + t.cgroup, only("bpf", "net_admin", "perfmon", uid=65534), "cgroup")


@test()
def V4_seccomp_refuses_bpf(t):
    filtered = [sys.executable, "-B", os.path.join(os.path.dirname(net.__file__), "without_bpf.py")]
    cap = works(t, "auto", filtered, "pcap")
    t.check("cgroup" in cap.errors(), "does not say why not cgroup: " + cap.errors())


@test(ledger=False)
def V6_cgroup_v1_directory(t):
    """A directory of cgroup v1 is refused by name, with what to give in its place."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        v1 = [line.split()[4] for line in f if " - cgroup " in line]
    if not v1:
        t.skip("no cgroup v1 here")
    refused(t, "cgroup:" + v1[0], [], [v1[0]])


@test()
def V10_read_only_file_system(t):
    """Everything read-only but one directory, no /tmp, no /sys/fs/bpf: it runs."""
    log = t.service(PORT)
    script = r"""
        cut -d' ' -f5 /proc/self/mountinfo | grep -v '^/mnt' | while read -r m; do
            mount -o remount,bind,ro "$m" 2>/dev/null || :
        done
        touch /tmp/x 2>/dev/null && { echo "/tmp can be written" >&2; exit 99; }
        exec "$@"
    """
    cap = start(t, "cgroup:" + t.cgroup, ["unshare", "-m", "sh", "-c", script, "sh"])
    workload.odd_calls("127.0.0.1", PORT, [])
    t.finish(cap, service.read_log(log))
    t.check(set(os.listdir("/mnt")) <= {"sidetap", "records-0", "ready-0"},
            "it wrote elsewhere: %s" % os.listdir("/mnt"))


@test(ledger=False)
def idle_in_place_of_exit_3(t):
    """--idle: cannot attach, stays, says why, ends with 0 when asked."""
    program = public(t)
    cap = t.capture("-p", str(PORT), "-a", "auto", "--idle", sink="file:/mnt/records",
                    wrap=only(), wait=False, program=program, ready="/mnt/ready")
    net.wait_until("the reasons", lambda: "CAP_" in cap.errors(), 15)
    t.check(cap.proc.poll() is None, "it ended: " + cap.errors())
    t.check(not os.path.exists("/mnt/ready"), "the ready file is there")
    cap.stop()


@test()
def read_file_without_privilege(t):
    """capture -r FILE as nobody: a capture of tcpdump, pcap, read from a file and from stdin."""
    proxies.need("tcpdump")
    program = public(t)
    log = t.service(PORT)
    dump = subprocess.Popen(["tcpdump", "-i", "lo", "-s", "0", "-B", "65536", "-U", "-Z", "root",
                             "-w", "/mnt/calls.pcap", "tcp port %d" % PORT],
                            stderr=open(t.path("tcpdump.err"), "wb"),
                            preexec_fn=net.die_with_parent)

    def listening():
        with open(t.path("tcpdump.err"), encoding="utf-8") as f:
            return "listening on" in f.read()
    net.wait_until("tcpdump", listening)
    capture.settle(0.3)
    workload.odd_calls("127.0.0.1", PORT, [])
    capture.settle(0.7)  # it has no way to say that its ring is read
    dump.terminate()
    dump.wait()
    os.chmod("/mnt/calls.pcap", 0o644)
    lines = service.read_log(log)
    nobody = only(uid=65534)
    r = subprocess.run([*nobody, program, "capture", "-r", "/mnt/calls.pcap", "--no-redact", "-o",
                        "file:/mnt/one"], check=False, stderr=subprocess.PIPE, text=True)
    t.same("exit code (%s)" % r.stderr, 0, r.returncode)
    with open("/mnt/calls.pcap", "rb") as f:
        r = subprocess.run([*nobody, program, "capture", "-r", "-", "-p", str(PORT), "--no-redact",
                            "-o", "file:/mnt/two"], check=False, stdin=f, stderr=subprocess.PIPE,
                           text=True)
    t.same("exit code (%s)" % r.stderr, 0, r.returncode)
    for source in ("file:/mnt/one", "file:/mnt/two"):
        capture.check_ledger(t, source, lossless=False)
        oracle.match(lines, capture.export(t, source))
