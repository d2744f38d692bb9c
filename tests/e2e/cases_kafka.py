# SPDX-License-Identifier: Apache-2.0
"""Records in Kafka: embedded, in another process, and a real broker; read by kcat and protoc."""

import os
import re
import signal
import time

from kit import capture, http1, kafka, net, oracle, service, workload
from kit.case import test
from kit.client import Client

PORT = 9080


def some_calls(n=20):
    with Client("127.0.0.1", PORT) as c:
        for k in range(n):
            c.call("POST", "/echo", body=http1.pattern(k * 300 + 1, k))
            c.call("GET", "/bytes?n=%d" % k)


def check_messages(t, log, messages):
    """Each record is a protobuf Call as it is, keyed by its connection, with the headers promised."""
    t.same("messages", len(log), len(messages))
    numbers, connections = set(), {}
    for m in messages:
        text = kafka.protoc_text("Call", m.value)
        t.same("key", kafka.top_field(text, "connection_id"), m.key)
        t.same("header protocol", "http1", m.headers.get("protocol"))
        t.same("header method", kafka.top_field(text, "method"), m.headers.get("method"))
        t.same("header service", kafka.top_field(text, "service"), m.headers.get("service"))
        t.check(m.headers.get("content-type", "").startswith("application/x-protobuf"),
                "content-type is %s" % m.headers)
        t.same("part", None, kafka.top_field(text, "part"))  # 0 is not sent
        t.same("last_part", "true", kafka.top_field(text, "last_part"))
        numbers.add(int(kafka.top_field(text, "record_number")))
        connections.setdefault(m.key, []).append((m.partition, m.offset, int(
            kafka.top_field(text, "sequence"))))
        t.check(abs(m.timestamp / 1000 - time.time()) < 120, "timestamp %d" % m.timestamp)
    t.same("record numbers", set(range(1, len(messages) + 1)), numbers)
    for where in connections.values():
        t.same("partitions of a connection", 1, len({p for p, _, _ in where}))
        t.same("order in the partition", sorted(where), sorted(where, key=lambda w: w[2]))


def bootstrap_of(cap):
    found = net.wait_until("bootstrap.servers", lambda: re.search(
        r"bootstrap\.servers[= ]+([\w.]+:\d+)", cap.errors() + cap.output()), 10)
    return found.group(1)


def default_topic(bootstrap):
    listing = net.run("kcat", "-b", bootstrap, "-L")
    names = re.findall(r'topic "([^"]+)"', listing)
    for name in names:
        if name + ".ledger" in names:
            return name
    raise capture.Failure("no pair of topics NAME, NAME.ledger in: " + listing)


@test(ledger=False)
def kafka_embedded(t):
    """kcat and export read while it runs; key, headers, protobuf; its own traffic is no call."""
    log = t.service(PORT)
    cap = t.capture("-a", t.attach("cgroup"), sink="kafka:embedded")  # every port of lo
    bootstrap = bootstrap_of(cap)
    topic = default_topic(bootstrap)
    ledgers = kafka.Follower(bootstrap, topic + ".ledger", t.path("ledger.bin"))
    some_calls()
    lines = service.read_log(log)
    net.wait_until("all calls in the topic", lambda: len(kafka.consume(bootstrap, topic)) >=
                   len(lines), 10, 0.2)
    check_messages(t, lines, kafka.consume(bootstrap, topic))
    records = capture.export(t, "kafka://%s/%s" % (bootstrap, topic))
    oracle.match(lines, records)
    cap.stop()
    texts = [kafka.protoc_text("Ledger", m.value) for m in ledgers.stop()]
    t.check(texts, "no ledger record")
    t.same("final", "true", kafka.top_field(texts[-1], "final"))
    t.same("last_record_number", str(len(lines)), kafka.top_field(texts[-1], "last_record_number"))


@test()
def kafka_other_process(t):
    """A cluster in another process, own port: no call is made of sidetap's own Kafka traffic."""
    log = t.service(PORT)
    mock = kafka.Mock("calls", "calls.ledger")
    sink = "kafka://%s/calls" % mock.bootstrap
    cap = t.capture("-a", t.attach("cgroup"), sink=sink)
    workload.odd_calls("127.0.0.1", PORT, [])
    t.finish(cap, service.read_log(log))
    mock.close()


@test()
def kafka_bodies_over_a_message(t):
    """Bodies larger than a Kafka message leave in parts of one call, joined by the reader."""
    log = t.service(PORT)
    mock = kafka.Mock("calls", "calls.ledger")
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--body-limit", "none",
                    sink="kafka://%s/calls" % mock.bootstrap)
    with Client("127.0.0.1", PORT) as c:
        c.call("POST", "/echo", body=http1.pattern(2200000, 1))
        c.call("GET", "/bytes?n=30")
    cap.stop()
    messages = kafka.consume(mock.bootstrap, "calls")
    t.check(len(messages) >= 5, "%d messages for 4.4 MB" % len(messages))
    t.check(all(len(m.value) <= 1000000 for m in messages), "a message is over 1,000,000 bytes")
    t.same("keys", 1, len({m.key for m in messages}))
    t.finish(cap, service.read_log(log), body_limit=None)
    mock.close()


@test(timeout=90)
def kafka_real_broker(t):
    """Kafka 4.4: both topics, zstd on the wire, ledger --check, -p all without itself."""
    bootstrap = kafka.start_broker(t.path("broker"), 9392)
    kafka.create_topics(bootstrap, 3, "calls", "calls.ledger")
    log = t.service(PORT)
    cap = t.capture("-a", t.attach("cgroup"), sink="kafka://%s/calls" % bootstrap)
    some_calls(100)
    workload.odd_calls("127.0.0.1", PORT, [])
    lines = service.read_log(log)
    t.finish(cap, lines)
    messages = [m for m in kafka.consume(bootstrap, "calls") if m.headers.get("protocol") == "http1"]
    check_real_messages(t, messages)
    codecs = set()
    for p in range(3):
        with open(t.path("broker/data/calls-%d/00000000000000000000.log" % p), "rb") as f:
            head = f.read(23)
            if len(head) == 23:
                codecs.add(head[22] & 7)
    t.check(4 in codecs, "no batch is zstd: codecs %s" % codecs)
    kafka.broker_sh("stop", t.path("broker"))


def check_real_messages(t, messages):
    for m in messages[:20]:
        text = kafka.protoc_text("Call", m.value)
        t.same("key", kafka.top_field(text, "connection_id"), m.key)
    order = {}
    for m in messages:
        order.setdefault(m.key, set()).add(m.partition)
    t.check(all(len(p) == 1 for p in order.values()), "a connection in two partitions")


@test(timeout=90)
def K1_broker_absent(t):
    """No broker at the address: says so by name, and ends within seconds when asked to."""
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"),
                    sink="kafka://127.0.0.1:9/calls", wait=False)
    net.wait_until("a line that names the broker", lambda: "127.0.0.1:9" in cap.errors(), 20, 0.1)
    if cap.proc.poll() is None:
        cap.proc.terminate()
    code = cap.wait(20)
    t.check(code in (0, 1), "it ended with %s" % code)
    t.check("Traceback" not in cap.errors() and "kafka" in cap.errors().lower(), cap.errors())
    # The same machine with a broker works: nothing was left behind.
    mock = kafka.Mock("calls", "calls.ledger")
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"),
                    sink="kafka://%s/calls" % mock.bootstrap)
    some_calls(3)
    t.finish(cap, service.read_log(log))


def segments(directory):
    return [n for n in os.listdir(directory) if n.endswith(".spool")]


@test(timeout=150)
def P2_killed_with_records_in_the_spool(t):
    """kill -9 while the broker stalls: the next process sends what was spooled and tells the dead one's ledger."""
    broker = kafka.Broker(t.path("broker"))
    kafka.create_topics(broker.bootstrap, 3, "calls", "calls.ledger")
    source, spool = "kafka://%s/calls" % broker.bootstrap, t.path("spool")
    log = t.service(PORT)

    def begin():
        return t.capture("-p", str(PORT), "-a", t.attach("cgroup"), "--spool", spool, sink=source)
    cap = begin()
    some_calls(20)
    net.wait_until("the first calls", lambda: len(kafka.consume(broker.bootstrap, "calls")) >= 40, 20)
    broker.signal(signal.SIGSTOP)
    some_calls(20)
    # 5 s without an answer are an outage: then all 40 are on disk, each at least as large as its body
    net.wait_until("the spool", lambda: segments(spool) and sum(
        os.path.getsize(os.path.join(spool, n)) for n in segments(spool)) > 40 * 1000, 30)
    capture.settle(0.5)  # fsync, and the mark that it was
    cap.proc.kill()
    cap.wait()
    broker.signal(signal.SIGCONT)
    cap = begin()
    t.check("was killed" in cap.errors(), "nobody was told of the kill: " + cap.errors())
    some_calls(20)
    net.wait_until("an empty spool", lambda: not segments(spool), 40)
    cap.stop()
    parsed = capture.check_ledger(t, source, lossless=False)
    killed = [i for i in parsed["instances"] if i["killed"]]
    t.same("killed instances", 1, len(killed))
    t.same("lost", {}, {k: v for k, v in parsed["lost"].items() if k in ("spooled", "killed")})
    capture.check_ledger_says_no(t, source)
    records = capture.export(t, source)
    oracle.match(service.read_log(log), records)
    broker.stop()


@test(timeout=120, slow=True)
def K6_topic_missing(t):
    """The ledger's topic does not exist: refused at start, named, exit code 1."""
    bootstrap = kafka.start_broker(t.path("broker"), 9392)
    kafka.create_topics(bootstrap, 1, "calls")
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"),
                    sink="kafka://%s/calls" % bootstrap, wait=False)
    code = cap.wait(40)
    t.check(code in (1, 2), "it ended with %s" % code)
    t.check("calls.ledger" in cap.errors(), "the topic is not named: " + cap.errors())
    kafka.create_topics(bootstrap, 1, "calls.ledger")
    log = t.service(PORT)
    cap = t.capture("-p", str(PORT), "-a", t.attach("cgroup"), sink="kafka://%s/calls" % bootstrap)
    some_calls(3)
    t.finish(cap, service.read_log(log))
    kafka.broker_sh("stop", t.path("broker"))
    t.check(not os.path.exists("/proc/%s" % open(t.path("broker/pid"), encoding="utf-8")
                               .read().strip()), "the broker is still there")
