# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 over loopback with our own exact peers: every back end, every odd case, one to one."""

import socket
import threading

from kit import capture, http1, net, oracle, service, workload
from kit.case import test
from kit.client import Client

PORT = 9080
BACK_ENDS = ["cgroup", "socket", "pcap"]


@test(each=BACK_ENDS)
def http1_odd_calls(t, back_end):
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    seen = workload.odd_calls("127.0.0.1", PORT, [])
    t.same("calls in the service's log", len(seen), len(service.read_log(log)))
    records = t.finish(cap, service.read_log(log))
    oracle.match(seen, records)  # what the client saw is the same
    oracle.check_record_numbers(records)
    t.same("back end", {back_end}, {r["capture"]["attach"] for r in records})


@test(each=BACK_ENDS)
def I1_ipv6(t, back_end):
    log = t.service(PORT, host="::1")
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    workload.odd_calls("::1", PORT, [])
    t.finish(cap, service.read_log(log))


@test(each=BACK_ENDS)
def I1_dual_stack_v4_mapped(t, back_end):
    log = t.service(PORT, host="::")
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    seen = []
    with Client("127.0.0.1", PORT, seen) as c:
        for n in range(20):
            c.call("POST", "/echo", body=http1.pattern(100 * n, n))
    with Client("::ffff:127.0.0.1", PORT, seen) as c:
        for n in range(20):
            c.call("GET", "/bytes?n=%d" % (n * 100))
    with Client("::1", PORT, seen) as c:
        c.call("GET", "/echo")
    records = t.finish(cap, service.read_log(log))
    t.same("records", 41, len(records))


@test()
def http1_default_attach_all_ports(t):
    """No option but the sink: every TCP port on loopback, the first back end that works."""
    one, two = t.service(9101, name="svc-one"), t.service(9102, name="svc-two")
    cap = t.capture()
    for port in (9101, 9102):
        with Client("127.0.0.1", port) as c:
            for _ in range(5):
                c.call("GET", "/echo")
    t.finish(cap, service.read_log(one) + service.read_log(two))


@test(each=BACK_ENDS)
def T20_byte_at_a_time(t, back_end):
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    with Client("127.0.0.1", PORT) as c:
        for n in range(20):
            c.call_bytewise("POST", "/echo", body=http1.pattern(40 + n, n), chunk=11,
                            trailers=[["X-T", str(n)]])
    t.finish(cap, service.read_log(log))


@test(each=BACK_ENDS)
def H8_pipelining(t, back_end):
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    with Client("127.0.0.1", PORT) as c:
        c.pipeline([("GET", "/bytes?n=%d" % (n % 50)) for n in range(1000)])
        c.pipeline([("POST", "/echo", (), http1.pattern(1500, n)) for n in range(20)])
    t.finish(cap, service.read_log(log))


@test(each=["cgroup", "socket"])
def I2_bodies_5_mib(t, back_end):
    """Both directions, whole (--body-limit none) and, by default, cut at 1 MiB with the true length."""
    log = t.service(PORT)
    whole = t.capture("-p", str(PORT), "-a", t.attach(back_end), "--body-limit", "none")
    cut = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    with Client("127.0.0.1", PORT) as c:
        for n in range(3):
            c.call("POST", "/echo", body=http1.pattern(5 << 20, n))
        c.call("GET", "/chunked?n=2500000&size=60000")
        c.call("GET", "/bytes?n=10")
    records = t.finish(whole, service.read_log(log), body_limit=None)
    t.check(not any("part_missing" in r.get("flags", []) for r in records), "a part is missing")
    t.finish(cut, service.read_log(log), body_limit=1 << 20)


@test()
def connections_64(t):
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    def request(c, n):
        c.call("POST", "/echo", body=http1.pattern(n % 7 * 1000 + 1, n))
    load = workload.Load("127.0.0.1", PORT, 64, request)
    net.wait_until("2,000 calls", lambda: load.done() >= 2000 or load.errors, 40)
    load.stop()
    records = t.finish(cap, service.read_log(log))
    t.same("connections", 64, len({r["connection_id"] for r in records}))
    oracle.check_record_numbers(records)


@test()
def connections_short(t):
    """A connection per call, 300 of them: the port of each is given again soon."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    for n in range(300):
        with Client("127.0.0.1", PORT) as c:
            c.call("GET", "/bytes?n=%d" % n, [["Connection", "close"]])
    t.finish(cap, service.read_log(log))


@test(each=BACK_ENDS)
def T5_same_port_again(t, back_end):
    """SO_REUSEADDR: the same four numbers at once again, after FIN and after a reset."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    for n in range(10):
        with Client("127.0.0.1", PORT, source=("127.0.0.1", 40123),
                    options=[(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)]) as c:
            c.call("GET", "/bytes?n=%d" % (n * 100))
            c.reset()
    records = t.finish(cap, service.read_log(log))
    t.same("connections", 10, len({r["connection_id"] for r in records}))


@test(each=BACK_ENDS)
def T10_half_close(t, back_end):
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    with Client("127.0.0.1", PORT) as c:
        x, wire, _ = c.build("GET", "/slow?ms=50")
        c.sock.sendall(wire)
        c.sock.shutdown(socket.SHUT_WR)
        c.read(x)
    with Client("127.0.0.1", PORT) as c:
        x, wire, _ = c.build("GET", "/bytes?n=3000000")
        c.sock.sendall(wire)
        c.sock.shutdown(socket.SHUT_WR)
        c.read(x)
    t.finish(cap, service.read_log(log), body_limit=1 << 20)


@test()
def T11_reset_by_the_client(t):
    """The client resets in the middle of a reply: ABORTED, by the client, never OK."""
    t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    c = Client("127.0.0.1", PORT, options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
    x, wire, _ = c.build("GET", "/bytes?n=20000000")
    c.sock.sendall(wire)
    c.stream.take(10000)
    c.reset()
    cap.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    t.same("records", 1, len(records))
    r = records[0]
    t.same("outcome", "ABORTED", r["outcome"])
    t.same("status_code", 200, r["status_code"])
    t.same("call", x["call"], oracle.call_of(r))
    t.check(0 < r["response"]["body_bytes"] < 20000000, "body_bytes of the part that was sent")


@test(each=["cgroup", "socket"])
def T13_tiny_receive_window(t, back_end):
    """Zero windows and window probes: a probe byte is no data."""
    log = t.service(PORT, options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)])
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    with Client("127.0.0.1", PORT, options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)]) as c:
        x, wire, _ = c.build("POST", "/echo", (), http1.pattern(150000, 9))
        sender = threading.Thread(target=c.sock.sendall, args=(wire,))
        sender.start()
        sender.join()
        capture.settle(0.5)  # the window stays shut until we read: the sender probes
        c.read(x)
    t.finish(cap, service.read_log(log))


@test()
def T14_out_of_band_byte(t):
    """An urgent byte is not in the stream of a receiver without SO_OOBINLINE."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
        x, wire, _ = c.build("POST", "/echo", (), b"0123456789" * 10)
        at = len(wire) - 37
        c.sock.sendall(wire[:at])
        c.sock.send(b"!", socket.MSG_OOB)
        c.sock.sendall(wire[at:])
        c.read(x)
        c.call("GET", "/bytes?n=100")
    t.same("calls the service saw", 3, len(service.read_log(log)))
    cap.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    if any(r["outcome"] == "UNKNOWN" or r.get("flags") for r in records):
        d = [r.get("flags") for r in records]
        t.check(all(oracle.call_of(r) for r in records if r["protocol"] == "http1"),
                "an unflagged wrong call: %s" % d)
    else:
        oracle.match(service.read_log(log), records)


@test()
def I7_other_traffic_is_left_out(t):
    """UDP, ICMP and UNIX sockets beside the calls."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"))
    a, b = socket.socketpair(socket.AF_UNIX)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("127.0.0.1", PORT))  # the same number, another protocol
    with Client("127.0.0.1", PORT) as c:
        for n in range(30):
            u.sendto(b"GET /udp HTTP/1.1\r\n\r\n", ("127.0.0.1", PORT))
            a.sendall(b"GET /unix HTTP/1.1\r\n\r\n")
            b.recv(100)
            c.call("GET", "/echo")
    records = t.finish(cap, service.read_log(log))
    t.same("records", 30, len(records))
    packets = capture.stage(capture.ledger(t, cap.sink), "probe")
    t.check(packets["exits"].get("not_tcp", 0) >= 30, "not_tcp is %s" % packets["exits"])


@test(each=["cgroup", "socket", "pcap"])
def I6_each_byte_once(t, back_end):
    """What the ledger says was delivered to framers is what the applications sent."""
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach(back_end))
    sent = 0
    with Client("127.0.0.1", PORT) as c:
        for n in range(50):
            x, wire, _ = c.build("POST", "/echo", (), http1.pattern(n * 531, n))
            c.sock.sendall(wire)
            sent += len(wire)
            c.read(x)
            head = "HTTP/1.1 %d %s\r\n" % (x["status"], x["reason"])
            sent += len(head) + len(http1.fields(x["response_headers"])) + 2 + x["response_bytes"]
    records = t.finish(cap, service.read_log(log))
    wire = sum(r["request"]["wire_bytes"] + r["response"]["wire_bytes"] for r in records)
    t.same("wire bytes", sent, wire)


@test()
def T18_self_connect(t):
    """A socket connected to itself: bytes are seen, nothing is doubled, nothing breaks."""
    log = t.service(PORT)
    cap = t.capture("-a", t.attach("cgroup"))
    s = socket.socket()
    s.bind(("127.0.0.1", 45454))
    s.connect(("127.0.0.1", 45454))
    s.sendall(b"GET /self HTTP/1.1\r\nHost: self\r\n\r\n")
    s.recv(1000)
    with Client("127.0.0.1", PORT) as c:
        c.call("GET", "/echo")
    s.close()
    cap.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    oracle.match(service.read_log(log), [r for r in records if r["server"].endswith(":%d" % PORT)],
                 numbers=False)
    t.check(len([r for r in records if ":45454" in r["server"]]) <= 1, "doubled: %s" % records)


@test()
def H11_not_http(t):
    """A binary protocol and a TLS hello: opaque, named, with exact byte counts."""
    lst = socket.create_server(("127.0.0.1", 9444))
    cap = t.capture("-p", "9444", "-a", t.attach("cgroup"))
    sizes = []
    for hello in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
                  bytes([0x81, 0xfe, 0x01, 0x99] * 100), b"GET \0\1\2\3 not http at all" * 9):
        c = socket.create_connection(("127.0.0.1", 9444))
        s, _ = lst.accept()
        c.sendall(hello)
        got = http1.Stream(s).take(len(hello))
        s.sendall(got[:50])
        http1.Stream(c).take(50)
        c.close()
        s.close()
        sizes.append((len(hello), 50))
    cap.stop()
    capture.check_ledger(t, cap.sink)
    records = capture.export(t, cap.sink)
    t.same("protocols", ["opaque"] * 3, [r["protocol"] for r in records])
    t.same("bytes", sizes, [(r["request"]["body_bytes"], r["response"]["body_bytes"])
                            for r in sorted(records, key=lambda r: r["record_number"])])
