# SPDX-License-Identifier: Apache-2.0
"""nginx, HAProxy and nghttpx as service and proxy; cgroups, namespaces, REDIRECT."""

import os
import re
import subprocess
import zlib

from kit import capture, http1, net, oracle, proxies, service, workload
from kit.case import test
from kit.client import Client

SERVICE, PROXY = 9080, 15001


def nginx_calls(host, port, log, rounds=3, prefix=""):
    """A keep-alive mix of small, file and error replies."""
    with Client(host, port, log) as c:
        for _ in range(rounds):
            for path in ("/token", "/1k", "/16k", "/teapot", "/fail", "/5m"):
                c.call("GET", prefix + path)
            c.call("HEAD", prefix + "/16k")
            c.call("GET", prefix + "/token", [["User-Agent", "test/1"], ["Accept", "*/*"]])
    return log


def check_nginx(t, cap, log, calls, body_limit=1 << 20):
    cap.stop()
    capture.check_ledger(t, cap.sink, lossless=True)
    records = capture.export(t, cap.sink)
    lines = proxies.read_calls(log, calls)
    files = {name: http1.pattern(size, name)
             for name, size in (("1k", 1024), ("16k", 16384), ("5m", 5 << 20))}
    oracle.match_nginx(lines, oracle.at(records, SERVICE), files, body_limit)
    return records


@test(each=["cgroup", "socket", "pcap"])
def nginx_keepalive(t, back_end):
    log = proxies.nginx(t.path("nginx"), SERVICE)
    cap = t.capture("-p", str(SERVICE), "-a", t.attach(back_end))
    calls = nginx_calls("127.0.0.1", SERVICE, [])
    records = check_nginx(t, cap, log, len(calls))
    oracle.match(calls, records)
    t.same("connections", 1, len({r["connection_id"] for r in records}))


@test(each=["on", "off"])
def I8_nginx_sendfile(t, sendfile):
    """Pages of a file that never were in user space: non-linear packets, whole bodies."""
    log = proxies.nginx(t.path("nginx"), SERVICE, sendfile=sendfile)
    cap = t.capture("-p", str(SERVICE), "-a", t.attach("cgroup"), "--body-limit", "none")
    calls = []
    with Client("127.0.0.1", SERVICE, calls) as c:
        for _ in range(4):
            c.call("GET", "/5m")
            c.call("GET", "/16k")
    check_nginx(t, cap, log, len(calls), body_limit=1 << 30)
    packets = capture.stage(capture.ledger(t, cap.sink), "probe")
    t.same("copy_fail", 0, packets["exits"].get("copy_fail", 0))


@test()
def H8_nginx_pipelining(t):
    log = proxies.nginx(t.path("nginx"), SERVICE)
    cap = t.capture("-p", str(SERVICE), "-a", t.attach("cgroup"))
    calls = []
    with Client("127.0.0.1", SERVICE, calls) as c:
        for _ in range(10):
            c.pipeline([("GET", ("/token", "/1k", "/16k", "/teapot")[n % 4]) for n in range(40)])
    oracle.match(calls, check_nginx(t, cap, log, len(calls)))


@test()
def nginx_ipv6(t):
    log = proxies.nginx(t.path("nginx"), SERVICE, host="::1")
    cap = t.capture("-p", str(SERVICE), "-a", t.attach("cgroup"))
    calls = nginx_calls("::1", SERVICE, [])
    cap.stop()
    t.same("lines of nginx", len(calls), len(proxies.read_calls(log, len(calls))))
    capture.check_ledger(t, cap.sink)
    oracle.match(calls, capture.export(t, cap.sink))


@test(each=["haproxy", "nghttpx", "nginx"])
def proxy_both_hops(t, kind):
    """client -> proxy -> nginx, both hops recorded; the first also as the client saw it."""
    if kind == "nginx":
        log = proxies.nginx(t.path("service"), SERVICE)
        front = proxies.nginx(t.path("proxy"), PROXY, upstream="127.0.0.1:%d" % SERVICE)
        prefix = "/pass"
    else:
        log = proxies.nginx(t.path("service"), SERVICE)
        front, prefix = None, ""
        if kind == "haproxy":
            proxies.haproxy(t.path("proxy"), PROXY, "127.0.0.1:%d" % SERVICE)
        else:
            proxies.nghttpx(t.path("proxy"), PROXY, "127.0.0.1", SERVICE)
    cap = t.capture("-p", "%d,%d" % (SERVICE, PROXY), "-a", t.attach("cgroup"))
    calls = []
    with Client("127.0.0.1", PROXY, calls) as c:
        for _ in range(3):
            for path in ("/token", "/1k", "/16k", "/teapot", "/fail", "/5m"):
                x, wire, _ = c.build("GET", prefix + path)
                c.sock.sendall(wire)
                c.read(x, expect_token=kind != "nginx")
    records = check_nginx(t, cap, log, len(calls))
    t.same("records of the front hop", len(calls), len(oracle.at(records, PROXY)))
    oracle.match(calls, oracle.at(records, PROXY), numbers=False) if kind != "nginx" else (
        front and t.same("front log", len(calls), len(proxies.read_calls(front, len(calls)))))


@test(each=["v1", "v2", "v2_tlv"])
def haproxy_proxy_preamble(t, version):
    """PROXY v1 and v2 before the first request: no garbage call, every call exact."""
    log = t.service(SERVICE, proxy_protocol=True)
    options = {"v1": "send-proxy", "v2": "send-proxy-v2",
               "v2_tlv": "send-proxy-v2 proxy-v2-options unique-id,crc32c"}[version]
    if version == "v2_tlv":
        options = options.replace("unique-id,", "")
    proxies.haproxy(t.path("proxy"), PROXY, "127.0.0.1:%d" % SERVICE, options)
    cap = t.capture("-p", str(SERVICE), "-a", t.attach("cgroup"))
    for n in range(4):
        with Client("127.0.0.1", PROXY) as c:
            for k in range(5):
                c.call("POST", "/echo", body=http1.pattern(k * 900 + 1, n))
            c.call("GET", "/chunked?n=3000")
    t.finish(cap, service.read_log(log))


# --- which cgroups are covered


def pair_in_cgroups(t, parent=None):
    """A service and a client with a cgroup each; (directories, port, path of the log)."""
    a, b = t.new_cgroup("service", parent), t.new_cgroup("proxy", parent)
    # The root cgroup sees the namespaces of other tests too: a port that none of them has.
    port = 20000 + zlib.crc32(t.cgroup.encode()) % 10000
    log = t.service(port, cgroup=a)
    return a, b, port, log


def run_client(cgroup, port):
    def calls(_):
        workload.odd_calls("127.0.0.1", port, [])
    child = net.fork("proxy", calls, cgroup)
    if child.wait():
        raise capture.Failure("the client failed")


@test(each=["service", "proxy", "both", "parent", "root", "service_by_pid", "own"])
def cgroup_covered(t, which):
    """Each choice of cgroups sees each byte of the pair exactly once."""
    parent = t.new_cgroup("pod")
    a, b, port, log = pair_in_cgroups(t, parent)
    spec = {"service": "cgroup:" + a, "proxy": "cgroup:" + b, "both": "cgroup:%s,%s" % (a, b),
            "parent": "cgroup:" + parent, "root": "cgroup:" + net.cgroup2_mount(),
            "service_by_pid": "cgroup:pid:%d" % t.service_child.pid, "own": "cgroup"}[which]
    cap = t.capture("-p", str(port), "-a", spec, cgroup=parent if which == "own" else None)
    run_client(b, port)
    log = service.read_log(log)
    for x in log:  # who reset is told by the RST alone: a reset to a closed socket shows nowhere
        t.check(x["call"] or x["kind"] == "opaque", "a call without a token")
    t.finish(cap, log)


@test()
def cgroup_not_covered(t):
    """A cgroup that holds neither end: nothing is recorded, and the ledger says so."""
    parent = t.new_cgroup("pod")
    a, b, port, log = pair_in_cgroups(t, parent)
    other = t.new_cgroup("other")
    net.fork("idle", lambda _: capture.settle(60), other)
    cap = t.capture("-p", str(port), "-a", "cgroup:" + other)
    run_client(b, port)
    t.check(service.read_log(log), "no calls were made")
    cap.stop()
    capture.check_ledger(t, cap.sink)
    t.same("records", [], capture.export(t, cap.sink))


@test()
def I12_two_captures_coexist(t):
    """Two programs on one cgroup and a socket filter beside them: each sees all."""
    log = t.service(SERVICE)
    caps = [t.capture("-p", str(SERVICE), "-a", a)
            for a in (t.attach("cgroup"), t.attach("cgroup"), "socket")]
    workload.odd_calls("127.0.0.1", SERVICE, [])
    caps[0].stop()
    workload.odd_calls("127.0.0.1", SERVICE, [])
    everything = service.read_log(log)
    for cap in caps[1:]:
        t.finish(cap, everything)
    first = t.finish(caps[0], everything[:len(everything) // 2])
    t.same("instances", 1, len({r["capture"]["instance"] for r in first}))


# --- addresses


@test(each=["cgroup", "socket", "pcap"])
def I11_redirect(t, back_end):
    """nft REDIRECT: the client dials 10.7.0.99:80 and lands on the proxy's port."""
    net.run("ip", "addr", "add", "10.7.0.2/32", "dev", "lo")
    net.run("ip", "route", "add", "10.7.0.96/28", "dev", "lo", "src", "10.7.0.2")
    proxies.need("nft")
    proxies.write(t.path("nat.nft"), """
table ip nat {
  chain output { type nat hook output priority -100; policy accept;
    ip daddr 10.7.0.96/28 tcp dport 80 redirect to :%d
  }
}
""" % PROXY)
    net.run("nft", "-f", t.path("nat.nft"))
    log = t.service(PROXY, host="0.0.0.0")
    cap = t.capture("-p", str(PROXY), "-a", t.attach(back_end))
    seen = []
    for last in (99, 100, 101):
        with Client("10.7.0.%d" % last, 80, seen) as c:
            for n in range(5):
                c.call("POST", "/echo", body=http1.pattern(n * 700 + 1, n))
    lines = service.read_log(log)
    records = t.finish(cap, lines)
    t.same("records", 15, len(records))
    dialled = {x["call"]: x["server"] for x in seen}
    for r in records:
        t.same("original_destination", dialled[oracle.call_of(r)], r.get("original_destination"))
        t.check(r["server"].endswith(":%d" % PROXY), "server is %s" % r["server"])
        t.check(r["client"].startswith("10.7.0.2:"), "client is %s" % r["client"])


@test(each=["cgroup", "socket", "pcap"])
def interface_any_veth(t, back_end):
    """Service here, client behind a veth pair: seen with --interface any, not without."""
    net.veth_pair()
    near, far = t.new_cgroup("near"), t.new_cgroup("far")
    log = t.service(SERVICE, host="0.0.0.0", cgroup=near)
    spec = {"cgroup": "cgroup:" + near, "socket": "socket:v0", "pcap": "pcap:v0"}[back_end]
    cap = t.capture("-p", str(SERVICE), "--interface", "any", "-a", spec)
    only_lo = t.capture("-p", str(SERVICE), "-a", t.attach("cgroup"))

    def calls(_):
        workload.odd_calls("10.9.0.1", SERVICE, [])
    t.same("client", 0, net.fork("far", calls, netns="peer", cgroup=far).wait())
    t.finish(cap, service.read_log(log))
    only_lo.stop()
    capture.check_ledger(t, only_lo.sink)
    t.same("records of the capture of lo", [], capture.export(t, only_lo.sink))


@test(each=["cgroup", "socket"])
def I3_big_tcp(t, back_end):
    """gso_max_size of 256 KiB on lo: packets over 64 KiB, IPv6 with a jumbo header."""
    net.run("ip", "link", "set", "lo", "gso_max_size", "262144", "gro_max_size", "262144")
    log = t.service(SERVICE, host="::")
    cap = t.capture("-p", str(SERVICE), "-a", t.attach(back_end), "--body-limit", "none")
    for host in ("127.0.0.1", "::1"):
        with Client(host, SERVICE) as c:
            for n in range(4):
                c.call("POST", "/echo", body=http1.pattern(3000000, n))
    t.finish(cap, service.read_log(log), body_limit=None)


@test()
def I4_ip_fragments(t):
    """Raw IP fragments on lo beside real calls: counted or reassembled, never taken for TCP."""
    import socket
    import struct
    log = t.service(SERVICE)
    cap = t.capture("-p", str(SERVICE), "-a", t.attach("cgroup"))
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with Client("127.0.0.1", SERVICE) as c:
        for n in range(20):
            c.call("GET", "/bytes?n=%d" % n)
            fake = struct.pack(">HHIIBBHHH", 40000, SERVICE, 1, 1, 0x50, 0x18, 100, 0, 0)
            fake += b"GET /fragment HTTP/1.1\r\nHost: x\r\n\r\n".ljust(44)
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(fake), n, 0x2000 | 1, 64, 6, 0,
                             b"\x7f\0\0\1", b"\x7f\0\0\1")
            raw.sendto(ip + fake, ("127.0.0.1", 0))
    t.finish(cap, service.read_log(log), lossless=False)
    probe = capture.stage(capture.ledger(t, cap.sink), "probe")
    t.same("ip_frag", 20, probe["exits"]["ip_frag"])


# --- processes


@test()
def process_names(t):
    """Each record knows the two processes."""
    log = proxies.nginx(t.path("nginx"), SERVICE)
    haproxy = proxies.haproxy(t.path("proxy"), PROXY, "127.0.0.1:%d" % SERVICE)
    cap = t.capture("-p", "%d,%d" % (SERVICE, PROXY), "-a", t.attach("cgroup"))
    calls = nginx_calls("127.0.0.1", PROXY, [])
    records = check_nginx(t, cap, log, len(calls))
    back, front = oracle.at(records, SERVICE), oracle.at(records, PROXY)
    t.same("client of the front hop", {"e2e(%d)" % os.getpid()},
           {r.get("client_process") for r in front})
    t.same("server of the front hop", {"haproxy(%d)" % haproxy.pid},
           {r.get("server_process") for r in front})
    t.same("client of the back hop", {"haproxy(%d)" % haproxy.pid},
           {r.get("client_process") for r in back})
    t.check(all(re.fullmatch(r"nginx\(\d+\)", r.get("server_process", "")) for r in back),
            "server of the back hop is %s" % {r.get("server_process") for r in back})


@test()
def F2_nothing_changed(t):
    """Links, sysctls, nft and qdiscs are the same while it runs and after."""
    def state():
        text = net.run("ip", "-d", "link") + net.run("nft", "list", "ruleset", check=False)
        text += net.run("tc", "qdisc", check=False) + net.run("ip", "rule")
        for name in ("net.ipv4", "net.core", "kernel.bpf_stats_enabled"):
            text += subprocess.run(["sysctl", "-e", name], stdout=subprocess.PIPE, text=True,
                                   stderr=subprocess.DEVNULL, check=False).stdout
        return text
    t.service(SERVICE)
    before = state()
    for a in (t.attach("cgroup"), "socket", "pcap"):
        cap = t.capture("-p", str(SERVICE), "-a", a)
        with Client("127.0.0.1", SERVICE) as c:
            c.call("GET", "/echo")
        t.check(state() == before, "the state of the network changed under " + a)
        cap.stop()
        t.same("calls captured by " + a, 1, len(capture.export(t, cap.sink)))
        capture.check_ledger(t, cap.sink)
    t.check(state() == before, "the state of the network changed")


def gone(directory):
    """Removes a cgroup as soon as nothing is left in it."""
    try:
        os.rmdir(directory)
    except OSError:
        return False
    return True


@test()
def I10_container_restarted(t):
    """A cgroup goes and comes back under its name, as of a container that restarts: nothing of either life is missing."""
    port = SERVICE
    directory = t.new_cgroup("life")
    first = t.service(port, cgroup=directory, name="first")
    old = t.service_child
    cap = t.capture("-p", str(port), "-a", "cgroup:" + directory)
    with Client("127.0.0.1", port) as c:
        c.call("GET", "/echo")
    old.kill()
    old.wait()
    net.wait_until("the cgroup is gone", lambda: gone(directory), 5, 0.02)
    net.wait_until("sidetap says so", lambda: "is gone" in cap.errors(), 5, 0.05)
    os.mkdir(directory)
    second = t.service(port, cgroup=directory, name="second")
    net.wait_until("attached again", lambda: cap.errors().count("attached:") == 2, 5, 0.05)
    with Client("127.0.0.1", port) as c:
        c.call("GET", "/echo")
    cap.stop()
    parsed = capture.check_ledger(t, cap.sink, lossless=True)
    t.same("calls", 2, parsed["calls_delivered"])
    oracle.match(service.read_log(first) + service.read_log(second), capture.export(t, cap.sink))
