#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""
Golden captures: NAME.pcap, what the applications logged (NAME.log), and the expected lines (NAME.jsonl).
Those of real frameworks are made by tests/peers/run.py --golden; their log begins with a line that names
the peer and its scenario.

  golden.py record [NAME...]     makes the pcaps and logs again, with tcpdump in a namespace (root)
  golden.py normalise            export's lines on stdin, without what differs from run to run
  golden.py check NAME           normalised lines on stdin against NAME.log: right, or why not
  golden.py accept NAME FILE     checks FILE, and makes it the expected lines
"""

import json
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "peers"))
sys.dont_write_bytecode = True

from kit import http1, match, net, oracle, pcap, peer, proxies, service  # noqa: E402
from kit.capture import Failure, settle  # noqa: E402
from kit.client import Client  # noqa: E402

PORT, PROXY = 9080, 15001


def keepalive(host="127.0.0.1"):
    with Client(host, PORT) as c:
        c.call("GET", "/bytes?n=40")
        c.call("POST", "/echo", [["Content-Type", "text/plain"]], b"a body of text\n")
        c.call("GET", "/status?code=404")
        c.call("PUT", "/echo", body=bytes(range(32)))
        c.call("GET", "/status?code=500")
        c.call("GET", "/echo")


def ipv6():
    keepalive("::1")


def pipelining():
    with Client("127.0.0.1", PORT) as c:
        c.pipeline([("GET", "/bytes?n=%d" % (n * 10)) for n in range(8)])
        c.pipeline([("POST", "/echo", (), b"body %d" % n) for n in range(4)])


def chunked_trailers():
    with Client("127.0.0.1", PORT) as c:
        c.call("POST", "/echo", body=http1.pattern(200, 1), chunk=64, trailers=[["X-Sum", "1"]])
        c.call("GET", "/chunked?n=150&size=40")
        c.call_bytewise("POST", "/echo", body=b"bytewise", chunk=3)


def head_204_304():
    with Client("127.0.0.1", PORT) as c:
        c.call("HEAD", "/bytes?n=999")
        c.call("GET", "/status?code=204")
        c.call("GET", "/status?code=304")
        c.call("GET", "/echo")


def interim():
    with Client("127.0.0.1", PORT) as c:
        c.expect_continue("/echo", b"sent after 100")
        c.call("GET", "/early")


def upgrade():
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
        c.switch("GET", "/chat", [["Upgrade", "websocket"], ["Connection", "Upgrade"]], (5, 70, 1))


def connect():
    with Client("127.0.0.1", PORT) as c:
        c.switch("CONNECT", "inner.example:443", sizes=(30, 20))


def until_close():
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/untilclose?n=300")
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo", version="HTTP/1.0")
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/cut?n=100")
    with Client("127.0.0.1", PORT) as c:
        c.no_answer("GET", "/noreply")


def reset():
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
        c.call("GET", "/rst?n=100")


def half_close():
    import socket
    with Client("127.0.0.1", PORT) as c:
        x, wire, _ = c.build("GET", "/bytes?n=100")
        c.sock.sendall(wire)
        c.sock.shutdown(socket.SHUT_WR)
        c.read(x)


def proxy_preamble():
    with Client("127.0.0.1", PROXY) as c:
        c.call("GET", "/bytes?n=20")
        c.call("POST", "/echo", body=b"through a proxy")


def redirect():
    net.run("ip", "addr", "add", "10.7.0.2/32", "dev", "lo")
    net.run("ip", "route", "add", "10.7.0.96/28", "dev", "lo", "src", "10.7.0.2")
    subprocess.run(["nft", "-f", "-"], check=True, text=True, input="""
table ip nat {
  chain output { type nat hook output priority -100; policy accept;
    ip daddr 10.7.0.96/28 tcp dport 80 redirect to :%d
  }
}""" % PORT)
    for last in (99, 100):
        with Client("10.7.0.%d" % last, 80) as c:
            c.call("GET", "/bytes?n=30")
            c.call("POST", "/echo", body=b"redirected")


# name: (function, service's host, options of HAProxy before the service)
SCENES = {
    "keepalive": (keepalive, "127.0.0.1", None),
    "ipv6": (ipv6, "::1", None),
    "pipelining": (pipelining, "127.0.0.1", None),
    "chunked_trailers": (chunked_trailers, "127.0.0.1", None),
    "head_204_304": (head_204_304, "127.0.0.1", None),
    "interim": (interim, "127.0.0.1", None),
    "upgrade": (upgrade, "127.0.0.1", None),
    "connect": (connect, "127.0.0.1", None),
    "until_close": (until_close, "127.0.0.1", None),
    "reset": (reset, "127.0.0.1", None),
    "half_close": (half_close, "127.0.0.1", None),
    "proxy_v1": (proxy_preamble, "127.0.0.1", "send-proxy"),
    "proxy_v2": (proxy_preamble, "127.0.0.1", "send-proxy-v2"),
    "redirect": (redirect, "0.0.0.0", None),
}

# name: (scene it is cut from, packets with payload that are taken out: numbers from 0, `None` as the
# first: everything before that number too, the handshake as well)
CUTS = {
    "late_join": ("keepalive", "before", 3),
    "late_join_in_a_call": ("keepalive", "before", 4),
    "late_join_pipelining": ("pipelining", "before", 2),
    "gap_in_a_reply": ("keepalive", "drop", 5),
    "gap_in_a_request": ("keepalive", "drop", 4),
}


def cut(name):
    scene, how, number = CUTS[name]
    head, packets = pcap.read(os.path.join(HERE, scene + ".pcap"))
    kept, data = [], 0
    for p in packets:
        carries = pcap.payload_bytes(p) > 0
        if how == "before" and data < number or how == "drop" and carries and data == number:
            pass
        else:
            kept.append(p)
        data += carries
    pcap.write(os.path.join(HERE, name + ".pcap"), head, kept)
    shutil.copy(os.path.join(HERE, scene + ".log"), os.path.join(HERE, name + ".log"))


def record_inside(name):
    net.run("ip", "link", "set", "lo", "up")
    function, host, haproxy = SCENES[name]
    work = "/mnt"
    net.run("mount", "-t", "tmpfs", "none", work)
    log = os.path.join(work, "log")
    net.fork("svc", lambda fd: service.run(host, PORT, log, fd, haproxy is not None), wait_ready=True)
    if haproxy is not None:
        proxies.haproxy(os.path.join(work, "proxy"), PROXY, "127.0.0.1:%d" % PORT, haproxy)
    err = open(os.path.join(work, "err"), "wb")
    which = "tcp" if name == "redirect" else "tcp port %d" % PORT
    dump = subprocess.Popen(["tcpdump", "-i", "lo", "-s", "0", "-U", "-Z", "root", "-w",
                             os.path.join(work, "pcap"), which], stderr=err)
    net.wait_until("tcpdump", lambda: b"listening on" in open(err.name, "rb").read())
    settle(0.3)
    function()
    settle(0.7)
    dump.terminate()
    dump.wait()
    shutil.copy(os.path.join(work, "pcap"), os.path.join(HERE, name + ".pcap"))
    shutil.copy(log, os.path.join(HERE, name + ".log"))


def record(names):
    for name in names or list(SCENES) + list(CUTS):
        if name in SCENES:
            subprocess.run(["unshare", "-n", "-p", "-m", "-f", "--mount-proc", "--kill-child",
                            sys.executable, "-B", __file__, "record-inside", name], check=True)
        else:
            cut(name)
        print(name, os.path.getsize(os.path.join(HERE, name + ".pcap")), "bytes")


# --- expected lines


def normalise(lines):
    """Instances become I, connections C1, C2 ... in the order of their first record."""
    connections, out = {}, []
    for r in sorted(map(json.loads, lines), key=lambda r: r["record_number"]):
        c = connections.setdefault(r["connection_id"], "C%d" % (len(connections) + 1))
        r["connection_id"], r["id"] = c, "%s:%d" % (c, r["sequence"])
        for field in ("instance", "version", "host", "config_hash", "config_version",
                      "config_unix_ns"):
            r.get("capture", {}).pop(field, None)
        out.append(json.dumps(r, sort_keys=True, ensure_ascii=False))
    return out


def check_cut(log, records, pipelined):
    """A cut capture: whole calls are right, others say why they are not; none pairs wrongly, but for
    pipelining, where order alone cannot prove a pair and late_join says so (docs/record.md)."""
    calls = {x["call"]: x for x in log}
    d = oracle.Differences()
    whole = 0
    for r in records:
        marks = set(r.get("flags", []))
        if marks & {"gap", "orphan_response", "no_response", "truncated", "protocol_error",
                    "capture_ended"} or r["protocol"] == "opaque":
            continue
        if pipelined and "late_join" in marks:
            whole += 1
            continue
        x = calls.get(oracle.call_of(r))
        if x is None:
            d.add("record " + r["id"], "nobody made it and it is not marked")
            continue
        oracle.check_call(d, x, r, 1 << 20, {"late_join"})
        whole += 1
    if not whole:
        d.add("capture", "no whole call is left")
    d.verdict()


def check(name, lines):
    records = [json.loads(line) for line in lines]
    log = service.read_log(os.path.join(HERE, name + ".log"))
    if "peer" in log[0]:
        scenario = peer.scenario(log[0]["peer"], log[0]["scenario"])
        match.strict(log[1:], records, scenario.extra)
        if scenario.parts:
            return
    elif name in CUTS:
        check_cut(log, records, CUTS[name][0] == "pipelining")
    else:
        oracle.match(log, records)
    oracle.check_record_numbers(records)


def main(argv):
    if argv[1:2] == ["record"]:
        record(argv[2:])
    elif argv[1:2] == ["record-inside"]:
        record_inside(argv[2])
    elif argv[1:2] == ["normalise"]:
        print("\n".join(normalise(sys.stdin)))
    elif argv[1:2] == ["check"] and len(argv) == 3:
        check(argv[2], sys.stdin.read().splitlines())
    elif argv[1:2] == ["accept"] and len(argv) == 4:
        with open(argv[3], encoding="utf-8") as f:
            check(argv[2], f.read().splitlines())
        shutil.copy(argv[3], os.path.join(HERE, argv[2] + ".jsonl"))
    else:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except Failure as e:
        sys.exit("golden.py: %s" % e)
