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
from world import TOPICS, Load, World, raw, wrapped

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


SASL = "?security.protocol=SASL_SSL&sasl.mechanism=%s&sasl.username=alice&sasl.password=%s&ssl.ca.location=%s"


class Secured:
    """A broker with TLS and SASL, and runs that must reach it, or be refused and keep all in the spool."""

    def __init__(self, w, version=None):
        self.w, self.calls = w, 0
        self.broker = w.start("secure", version=version)
        with open(self.broker.path("tls/password"), encoding="utf-8") as f:
            self.password = f.read().strip()
        self.tls, self.sasl = self.broker.port + 3, self.broker.port + 2
        self.ca, self.other_ca = self.broker.path("tls/ca.pem"), self.broker.path("tls/other.pem")
        self.secret = "file:" + w.case.path("secret")
        with open(w.case.path("secret"), "w", encoding="utf-8") as f:
            f.write(self.password + "\n")

    def uri(self, port, properties):
        return "kafka://localhost:%d/calls" % port + properties

    def run(self, port, properties, env=None, wrong=None):
        """wrong: what it must say, with all that it captures in the spool. What it said, at the end."""
        w = self.w
        cap = w.capture(sink=self.uri(port, properties), env=env)
        self.calls += Load(RATE, 2).wait()
        if wrong:
            net.wait_until("the reason", lambda: re.search(wrong, cap.errors()), 15)
        else:
            w.wait_drained(30)
        self.shown_nowhere(cap)
        text = w.end(cap)["text"]
        w.check(self.password not in text, "the secret is in the summary")
        w.check(bool(w.spooled()) == bool(wrong), "in the spool: %s" % w.spooled())
        return text

    def shown_nowhere(self, cap):
        """C7: neither in what it says nor in what others see of it."""
        with open("/proc/%d/cmdline" % cap.pid, "rb") as f:
            self.w.check(self.password.encode() not in f.read(), "the secret is in /proc/PID/cmdline")
        self.w.check(self.password not in cap.errors() + cap.output(), "the secret is in what it says")

    def all_is_there(self):
        parsed = self.w.audit(lossless=True)
        self.w.check(parsed["calls_delivered"] == self.calls, "%d of %d calls are there" % (
            parsed["calls_delivered"], self.calls))
        self.w.order(parsed)


@test(timeout=300)
def K7_tls_and_sasl(w):
    """TLS alone and SASL_SSL deliver; a wrong authority or password is named, costs no record, and shows no secret."""
    b = Secured(w)
    b.run(b.tls, "?security.protocol=SSL&ssl.ca.location=" + b.other_ca,
          wrong="certificate verify failed|broker certificate could not be verified")
    b.run(b.tls, "?security.protocol=SSL&ssl.ca.location=" + b.ca)
    b.run(b.sasl, SASL % ("PLAIN", "wrong", b.ca), wrong="(?i)authentication")
    b.run(b.sasl, SASL % ("PLAIN", b.secret, b.ca))
    b.run(b.sasl, SASL % ("PLAIN", "env:KAFKA_PASSWORD", b.ca), env={"KAFKA_PASSWORD": b.password})
    r = subprocess.run([w.case.program, "capture", "--check", "-vv", "-o", b.uri(b.sasl, SASL % (
        "PLAIN", b.password, b.ca))], check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    w.check(r.returncode == 0 and b.password not in r.stdout, "--check shows it: " + r.stdout[-300:])
    b.all_is_there()


OLD_SCRAM = "3.7.1"  # the last Kafka that takes SCRAM of librdkafka before 2.6.1


@test(timeout=300)
def K7_scram(w):
    """Both SCRAM mechanisms: a wrong password costs no record, the right one from a file or the environment delivers."""
    b = Secured(w, version=OLD_SCRAM)
    b.run(b.sasl, SASL % ("SCRAM-SHA-256", "wrong", b.ca), wrong="(?i)authentication")
    b.run(b.sasl, SASL % ("SCRAM-SHA-256", b.secret, b.ca))
    b.run(b.sasl, SASL % ("SCRAM-SHA-512", "wrong", b.ca), wrong="(?i)authentication")
    b.run(b.sasl, SASL % ("SCRAM-SHA-512", "env:KAFKA_PASSWORD", b.ca),
          env={"KAFKA_PASSWORD": b.password})
    b.all_is_there()


@test(timeout=300)
def K7_scram_that_this_librdkafka_cannot(w):
    """A newer Kafka refuses SCRAM of librdkafka before 2.6.1: said at the start and by doctor, all stays in the spool."""
    b = Secured(w)
    scram = SASL % ("SCRAM-SHA-256", b.secret, b.ca)
    doctor = subprocess.run([w.case.program, "doctor", "-o", b.uri(b.sasl, scram)], check=False, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    flat = " ".join(doctor.split())
    if "2.6.1 cannot do SCRAM" not in flat:
        w.check("has 4 partitions" in flat, "doctor neither reached it nor said why: " + doctor)
        b.run(b.sasl, scram)
    else:
        text = b.run(b.sasl, scram, wrong="(?i)authentication")
        w.check("2.6.1 cannot do SCRAM" in text and "PLAIN over TLS" in text, "not said: " + text)
        b.run(b.sasl, SASL % ("PLAIN", b.secret, b.ca))
    b.all_is_there()


def started(log):
    """What strace saw: threads that were started; calls that start processes or programs before the first of them, after."""
    threads, before, after = 0, [], []
    with open(log, encoding="utf-8") as f:
        for line in f:
            call = re.search(r"^\d+ +(clone3?|v?fork|execve(?:at)?)\(", line)
            if not call:
                continue
            if call.group(1).startswith("clone") and ("CLONE_THREAD" in line or "ENOSYS" in line):
                threads += "CLONE_THREAD" in line
            else:
                (after if threads else before).append(line.strip())
    return threads, before, after


@test(timeout=200)
def K14_nothing_forks_beside_a_handle(w):
    """Over a start, an outage, a reload, a pause and an end: once there are threads, no process and no program."""
    broker = w.start()
    log, config = w.case.path("strace.log"), w.case.path("sidetap.yaml")

    def configure(limit):
        with open(config, "w", encoding="utf-8") as f:
            f.write("body-limit: %s\n" % limit)

    def ctl(pid, *words):
        net.run(w.case.program, "ctl", "--socket", "/run/sidetap/%d.sock" % pid, *words)
    configure("16KiB")
    cap = w.capture("-c", config, wrap=("strace", "-f", "-qq", "-o", log, "-e",  # no --seccomp-bpf: it hides what is refused
                                        "trace=clone,clone3,fork,vfork,execve,execveat"))
    pid = wrapped(cap)
    load = Load(RATE // 2, 12)
    time.sleep(2)
    broker.kill()
    net.wait_until("the outage", lambda: "records go to the spool" in cap.errors(), 20)
    configure("32KiB")
    os.kill(pid, signal.SIGHUP)
    ctl(pid, "reload")
    broker.restart()
    calls = load.wait()
    w.wait_drained(60)
    ctl(pid, "pause")
    ctl(pid, "resume")
    calls += Load(RATE, 2).wait()
    os.kill(pid, signal.SIGTERM)
    cap.wait(60)
    threads, before, after = started(log)
    w.note(threads=threads, calls=calls)
    w.check(not after, "it started %s" % after)
    # sidetap itself, and what looks into others for it
    w.check(len(before) == 2 and "execve(" in before[0], "at the start: %s" % before)
    w.check(threads >= 5, "strace saw %d threads" % threads)
    w.exact(calls)


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
