# SPDX-License-Identifier: Apache-2.0
"""What befalls a real broker, under load (K1-K13): nothing is lost, or it is named; duplicates by id, and counted."""

import os
import re
import signal
import subprocess
import threading
import time

from kit import capture, kafka, net
from kit.case import Failure, test
from world import TOPICS, Load, World, raw

RATE = 1000


def under_load(w, seconds, trouble, capture_options=(), lossless=True, drained=60, **how):
    """A capture, the load, `trouble(cap)` beside it; ends it when all is sent. The audit, and the summary."""
    cap = w.capture(*capture_options, **how)
    load = Load(RATE, seconds)
    trouble(cap)
    calls = load.wait()
    w.rss(cap)
    w.wait_drained(drained)
    end = w.end(cap)
    w.note(calls=calls, maybe_twice=end["maybe_twice"])
    w.check(end["calls"] == calls, "%d calls were made, %d captured" % (calls, end["calls"]))
    parsed = w.exact(calls, lossless=lossless)
    w.order(parsed)
    w.check(parsed["duplicates"] <= end["maybe_twice"], "%d are there twice, %d were counted" % (
        parsed["duplicates"], end["maybe_twice"]))
    w.quick()
    w.check(w.memory < 128, "RssAnon was %.0f MiB" % w.memory)
    return parsed, end


@test(timeout=300)
def K2_killed_and_started_again(w):
    """kill -9 of the broker, away for 8 s; twice."""
    broker = w.start()

    def trouble(_cap):
        for _ in range(2):
            time.sleep(3)
            broker.kill()
            time.sleep(8)
            broker.restart()
    _, end = under_load(w, 40, trouble)
    w.check("records go to the spool" in end["text"], "it never went to the spool")


@test(timeout=300)
def K3_stalls(w):
    """SIGSTOP for 13 s, longer than any time-out of the client, and some short ones."""
    broker = w.start()

    def trouble(_cap):
        for seconds in (1, 13, 2):
            time.sleep(2)
            broker.signal(signal.SIGSTOP)
            time.sleep(seconds)
            broker.signal(signal.SIGCONT)
    under_load(w, 30, trouble)


@test(timeout=400)
def K9_leaders_change(w):
    """Three brokers; each is killed in its turn and comes back: 2 of 3 hold each partition."""
    broker = w.start("cluster", replicas=3, config=("min.insync.replicas=2",))

    def trouble(_cap):
        for node in (1, 2, 3):
            time.sleep(2)
            broker.kill(node)
            time.sleep(5)
            broker.restart(node)
    under_load(w, 45, trouble, properties="?topic.metadata.refresh.interval.ms=2000")


@test(timeout=300)
def K6_a_topic_is_deleted_and_made_again(w):
    """What was acknowledged before is gone with it, by the ledger's own evidence; everything later arrives."""
    broker = w.start()
    cap = w.capture()
    first = Load(RATE, 3)
    calls = first.wait()
    time.sleep(1)
    kafka.delete_topics(broker.bootstrap, "calls")
    load = Load(RATE, 12)
    time.sleep(6)
    kafka.create_topics(broker.bootstrap, 4, "calls")
    calls += load.wait()
    w.wait_drained(90)
    end = w.end(cap)
    w.check(end["calls"] == calls, "%d calls were made, %d captured" % (calls, end["calls"]))
    parsed = w.audit(code=1)  # the deleted ones are missing, and nobody can name them
    records = capture.stage(parsed, "records")["exits"]
    w.check(records["delivered"] == calls, "delivered %s of %d" % (records, calls))
    there = set().union(*w.order().values())
    gone = set(range(1, calls + 1)) - there
    w.note(calls=calls, deleted=len(gone))
    w.check(gone and gone == set(range(1, max(gone) + 1)), "what is missing is not the oldest")
    w.check(len(there) >= calls * 12 / 15 * 0.9, "only %d of those after it are there" % len(there))
    w.quick()


@test(timeout=200)
def K6_a_topic_is_missing_at_the_start(w):
    """With a spool it starts, says so, and sends when the topic is there."""
    broker = w.start(topics=("calls.ledger",))

    def trouble(cap):
        w.check("'calls' does not exist" in cap.errors() and "create it" in cap.errors(),
                "not said: " + cap.errors())
        time.sleep(4)
        kafka.create_topics(broker.bootstrap, 4, "calls")
    under_load(w, 8, trouble, drained=90)


@test(timeout=200)
def K8_one_record_is_too_large_for_the_topic(w):
    """max.message.bytes of 20,000: a record over it is quarantined by name, its neighbours arrive."""
    w.start(config=("max.message.bytes=20000", "compression.type=uncompressed"))
    cap = w.capture("--body-limit", "100KiB", properties="?compression.codec=none")
    load = Load(RATE, 6)
    large = 0
    for _ in range(5):
        time.sleep(0.7)
        net.run("curl", "-s", "-o", "/dev/null", "http://127.0.0.1:9080/64k")
        large += 1
    calls = load.wait() + large
    w.wait_drained(60)
    w.end(cap)
    parsed = w.exact(calls, lossless=False)
    records = capture.stage(parsed, "records")["exits"]
    w.note(exits=records)
    w.check(records.get("too_large") == large and records["delivered"] == calls - large,
            "the exits are %s" % records)
    w.order(parsed)
    w.quick()


@test(timeout=200)
def K10_another_cluster_at_the_same_address(w):
    """The address leads to another cluster: nothing is sent there, all stays in the spool; the right one gets it."""
    broker = w.start()
    cap = w.capture(properties="?topic.metadata.refresh.interval.ms=500")
    calls = Load(RATE, 2).wait()
    time.sleep(1)
    broker.stop()
    os.environ["KAFKA_CLUSTER_ID"] = "BBBBBBBBQBCBBBBBBBBBBB"
    other = kafka.Broker(w.case.path("other"))
    del os.environ["KAFKA_CLUSTER_ID"]
    kafka.create_topics(other.bootstrap, 4, *TOPICS)
    net.wait_until("the wrong cluster is named", lambda: "this is cluster" in cap.errors(), 20)
    calls += Load(RATE, 2).wait()
    time.sleep(2)
    w.check(not list(raw(other.bootstrap, "calls")), "records were sent to the wrong cluster")
    w.end(cap)
    w.check(w.spooled(), "nothing is in the spool")
    again = w.capture()  # the next process knows it too
    w.check("this is cluster" in again.errors(), "the next one did not say so: " + again.errors())
    w.end(again)
    w.check(not list(raw(other.bootstrap, "calls")), "records were sent to the wrong cluster")
    other.stop()
    broker.restart()
    last = w.capture()
    w.wait_drained(60)
    w.end(last)
    parsed = w.audit(lossless=True)
    w.check(parsed["calls_delivered"] == calls, "%d of %d calls are there" % (
        parsed["calls_delivered"], calls))
    w.order(parsed)


SASL = ("?security.protocol=SASL_SSL&sasl.mechanism=PLAIN&sasl.username=alice"
        "&sasl.password=%s&ssl.ca.location=%s")


def shown_nowhere(w, cap, canary):
    """C7: neither in what it says nor in what others see of it."""
    with open("/proc/%d/cmdline" % cap.pid, "rb") as f:
        w.check(canary.encode() not in f.read(), "the secret is in /proc/PID/cmdline")
    w.check(canary not in cap.errors() + cap.output(), "the secret is in what it says")


@test(timeout=300)
def K7_tls_and_sasl(w):
    """TLS alone and SASL_SSL deliver; a wrong authority or password is named, costs no record, and shows no secret."""
    broker = w.start("secure")
    with open(broker.path("tls/password"), encoding="utf-8") as f:
        password = f.read().strip()
    tls, sasl = broker.port + 3, broker.port + 2
    good, bad = broker.path("tls/ca.pem"), broker.path("tls/other.pem")
    secret = w.case.path("secret")
    with open(secret, "w", encoding="utf-8") as f:
        f.write(password + "\n")
    uri = "kafka://localhost:%d/calls"
    calls = 0

    def run(port, properties, env=None, wrong=None):
        nonlocal calls
        cap = w.capture(sink=uri % port + properties, env=env)
        calls += Load(RATE, 2).wait()
        if wrong:
            net.wait_until("the reason", lambda: re.search(wrong, cap.errors()), 15)
        else:
            w.wait_drained(30)
        shown_nowhere(w, cap, password)
        text = w.end(cap)["text"]
        w.check(password not in text, "the secret is in the summary")
        w.check(bool(w.spooled()) == bool(wrong), "in the spool: %s" % w.spooled())

    run(tls, "?security.protocol=SSL&ssl.ca.location=" + bad, wrong="certificate verify failed|broker "
        "certificate could not be verified")
    run(tls, "?security.protocol=SSL&ssl.ca.location=" + good)
    run(sasl, SASL % ("wrong", good), wrong="(?i)authentication")
    run(sasl, SASL % ("file:" + secret, good))
    run(sasl, SASL % ("env:KAFKA_PASSWORD", good), env={"KAFKA_PASSWORD": password})
    r = subprocess.run([w.case.program, "capture", "--check", "-vv", "-o", uri % sasl + SASL % (
        password, good)], check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    w.check(r.returncode == 0 and password not in r.stdout, "--check shows it: " + r.stdout[-300:])
    parsed = w.audit(lossless=True)
    w.check(parsed["calls_delivered"] == calls, "%d of %d calls are there" % (
        parsed["calls_delivered"], calls))
    w.order(parsed)


@test(timeout=200)
def K13_a_name_that_comes_and_goes(w):
    """The name does not resolve, then it does, to a broker; and one address of three lives. It does not spin."""
    broker = w.start()
    hosts = w.case.path("hosts")

    def resolve(name):
        with open(hosts, "w", encoding="utf-8") as f:
            f.write("127.0.0.1 localhost %s\n" % name)
    resolve("")
    net.run("mount", "--bind", hosts, "/etc/hosts")
    try:
        before = time.monotonic()

        def trouble(cap):
            time.sleep(3)
            cpu = capture.cpu_seconds(cap.pid)
            time.sleep(4)
            w.note(cpu_percent_while_away=round((capture.cpu_seconds(cap.pid) - cpu) / 4 * 100, 1),
                   started_after_s=round(time.monotonic() - before, 1))
            resolve("kafka.test")
        sink = "kafka://127.0.0.1:1,kafka.test:%d,127.0.0.1:2/calls" % broker.port
        _, end = under_load(w, 12, trouble, sink=sink, drained=90)
        w.check("records go to the spool" in end["text"], "it never went to the spool")
    finally:
        net.run("umount", "/etc/hosts")
