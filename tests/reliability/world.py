# SPDX-License-Identifier: Apache-2.0
"""A service under load, a broker, captures with one spool, and what is true of them afterwards."""

import json
import os
import re
import signal
import struct
import subprocess
import time

from kit import capture, http1, kafka, net, proxies
from kit.case import Failure

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
LOAD = os.path.join(TOP, "build", "bench", "load")
PORT = 9080
TOPICS = ("calls", "calls.ledger")
LOOP_MS = 10  # the promise: no turn of the loop takes longer


def build_load():
    if os.path.exists(LOAD):
        return
    os.makedirs(os.path.dirname(LOAD), exist_ok=True)
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", LOAD,
                    os.path.join(TOP, "tests", "bench", "load.c")], check=True)


class Load:
    """Calls at a fixed rate, in the background."""

    def __init__(self, rate, seconds, connections=16, path="/1k"):
        self.proc = subprocess.Popen([LOAD, "127.0.0.1", str(PORT), path, str(connections),
                                      str(rate), str(seconds)], stdout=subprocess.PIPE, text=True,
                                     preexec_fn=net.die_with_parent)

    def wait(self):
        """Calls that were answered."""
        out = self.proc.communicate()[0]
        if not out.startswith("{"):
            raise Failure("the load generator failed: " + out)
        return json.loads(out)["answered"]

    def stop(self):
        self.proc.kill()
        self.proc.wait()


class World:
    def __init__(self, case, args):
        self.case, self.args = case, args
        self.figures = {}
        self.spool = case.path("spool")
        self.broker = None
        self.slowest = {"clock": 0.0, "cpu": 0.0, "blocked": 0.0}  # turn of the loop, in ms
        self.memory = 0

    def close(self):
        if self.figures:
            with open(os.path.join(self.args.out, self.args.inside + ".json"), "w",
                      encoding="utf-8") as f:
                json.dump(self.figures, f, indent=1)
                f.write("\n")

    def note(self, **figures):
        self.figures.update(figures)
        print("#", " ".join("%s=%s" % kv for kv in figures.items()), flush=True)

    def check(self, condition, text):
        if not condition:
            raise Failure(text)

    # --- the parts

    def start(self, mode="start", topics=TOPICS, partitions=4, log_calls=False, version=None, **how):
        proxies.nginx(self.case.path("nginx"), PORT, log_calls=log_calls)
        with open(self.case.path("nginx/www/64k"), "wb") as f:
            f.write(http1.pattern(65536, "64k"))
        self.broker = kafka.Broker(self.case.path("broker"), mode=mode, version=version)
        if topics:
            kafka.create_topics(self.broker.bootstrap, partitions, *topics, **how)
        return self.broker

    def source(self, topic="calls"):
        return "kafka://%s/%s" % (self.broker.bootstrap, topic)

    def capture(self, *options, sink=None, spool="256MiB", properties="", **how):
        options = ["-p", str(PORT), "-a", self.case.attach("cgroup"), *options]
        if spool:
            options += ["--spool", self.spool, "--spool-size", spool]
        return self.case.capture(*options, sink=(sink or self.source()) + properties, **how)

    def spooled(self):
        """Names of the spool's segments."""
        try:
            return sorted(n for n in os.listdir(self.spool) if n.endswith(".spool"))
        except FileNotFoundError:
            return []

    def disk_bytes(self):
        """What du says of the spool's directory."""
        n = 0
        for name in os.listdir(self.spool):
            try:
                n += os.stat(os.path.join(self.spool, name)).st_blocks * 512
            except FileNotFoundError:
                pass
        return n

    def wait_drained(self, seconds=60):
        """All that was in the spool is acknowledged."""
        net.wait_until("the spool to be empty", lambda: not self.spooled(), seconds, 0.05)

    def rss(self, cap):
        """MiB of its own memory, the greatest so far."""
        with open("/proc/%d/status" % cap.pid, encoding="utf-8") as f:
            kib = int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))
        self.memory = max(self.memory, kib / 1024)
        return self.memory

    def end(self, cap, seconds=60):
        """SIGTERM; its summary as a dictionary of figures."""
        self.rss(cap)
        cap.stop(seconds=seconds)
        text = cap.errors()
        self.turns(text)
        twice = re.search(r"maybe twice (\d+)", text)
        self.note(rss_anon_mib=round(self.memory, 1))
        return {"calls": int(re.search(r"(\d+) calls in", text).group(1)),
                "maybe_twice": int(twice.group(1)) if twice else 0, "text": text}

    def turns(self, text):
        """The longest turns that a summary names: by the clock, of CPU, blocked; each the longest so far."""
        found = re.search(r"slowest turn ([\d.]+) ms, ([\d.]+) of CPU, (?:([\d.]+) blocked)?", text)
        if not found:
            return
        for name, ms in zip(self.slowest, found.groups()):
            self.slowest[name] = max(self.slowest[name], float(ms or 0))
        self.note(slowest_turn_ms=dict(self.slowest))

    # --- what must be true

    def audit(self, lossless=None, source=None, code=0):
        """`ledger --check`, and --lossless when it is true or false; the parsed ledger."""
        source = source or self.source()
        flags = [["--check"]] + ([["--lossless"]] if lossless is not None else [])
        for f in flags:
            want = code if f == ["--check"] else 0 if lossless else 1
            r = subprocess.run([self.case.program, "ledger", "-i", source, *f], check=False,
                               text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            with open(self.case.path("ledger.txt"), "a", encoding="utf-8") as out:
                out.write(r.stdout)
            self.check(r.returncode == want, "ledger %s ended with %d, not %d: %s" % (
                f[0], r.returncode, want, " / ".join(r.stdout.split("\n")[-12:])))
        return capture.ledger(self.case, source)

    def exact(self, calls, parsed=None, lossless=True):
        """One instance, never killed: each call of the load was delivered, or left by a name."""
        parsed = parsed or self.audit(lossless)
        sample = capture.stage(parsed, "sample")
        self.check(sample["in"] == calls, "%d calls were made, the ledger saw %d" % (
            calls, sample["in"]))
        records = capture.stage(parsed, "records")["exits"]
        lost = sum(n for name, n in records.items() if name != "delivered")
        there = parsed["calls_delivered"]
        self.check(there + lost >= calls and there <= calls,
                   "of %d calls %d are there and %d are named: %s" % (calls, there, lost, records))
        if lossless:
            self.check(there == calls, "of %d calls %d are there" % (calls, there))
        return parsed

    def order(self, parsed=None, topic="calls"):
        """An independent reader: each record once but for the duplicates that the auditor counts, in one partition and in
        order of its connection. Numbers by instance."""
        seen, last, partition, twice = {}, {}, {}, 0
        for m in scan(self.broker.bootstrap, topic):
            p, key, sequence, number = m
            self.check(partition.setdefault(key, p) == p, "%s is in two partitions" % key)
            numbers = seen.setdefault(key.partition("-")[0], set())
            if number in numbers:
                twice += 1
                continue
            numbers.add(number)
            self.check(sequence > last.get(key, 0), "%s: call %d after %d" % (
                key, sequence, last.get(key, 0)))
            last[key] = sequence
        if parsed:
            self.check(twice == parsed["duplicates"], "%d are there twice, the auditor says %d" % (
                twice, parsed["duplicates"]))
        self.note(records=sum(len(s) for s in seen.values()), duplicates=twice)
        return seen

    def quick(self):
        """The promise is LOOP_MS. Told, not failed on: of the clock, and of what is blocked in a virtual machine,
        a part is other people's."""
        self.note(over_10_ms=[name for name, ms in self.slowest.items() if ms > LOOP_MS])


def varint(p, at):
    value = shift = 0
    while True:
        b = p[at]
        at += 1
        value |= (b & 127) << shift
        if b < 128:
            return value, at
        shift += 7


def numbers_of(p):
    """(sequence, record_number) of a Call: fields 3 and 4, which stand near the front."""
    at, sequence, number = 0, 0, 0
    while at < len(p):
        tag, at = varint(p, at)
        if tag >> 3 > 4:
            break
        value, at = varint(p, at)
        if tag & 7 == 2:
            at += value
        elif tag == 3 << 3:
            sequence = value
        elif tag == 4 << 3:
            number = value
    return sequence, number


def scan(bootstrap, topic):
    """Each record that is in the topic now, by kcat: partition, key, sequence, record number."""
    for p, key, value in raw(bootstrap, topic):
        yield (p, key, *numbers_of(value))


def raw(bootstrap, topic):
    proc = subprocess.Popen(["kcat", "-C", "-q", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e",
                             "-f", "%p %k\n%R%s"], stdout=subprocess.PIPE, bufsize=1 << 20,
                            preexec_fn=net.die_with_parent)
    f = proc.stdout
    while line := f.readline():
        p, _, key = line.decode().rstrip("\n").partition(" ")
        yield int(p), key, f.read(struct.unpack(">i", f.read(4))[0])
    if proc.wait():
        raise Failure("kcat ended with %d" % proc.returncode)


ENTRY = struct.Struct("<IIIBBHQQ16s")  # sink/spool_segment.c, without the spans and the check
MAGIC, HEADER_BYTES, ENTRY_BYTES = 0x6c707364, 64, 88


def spool_entries(directory):
    """(instance, number) of each whole Call in the files of a spool, whatever its process says."""
    out = set()
    for name in os.listdir(directory):
        if not name.endswith(".spool"):
            continue
        with open(os.path.join(directory, name), "rb") as f:
            data = f.read()
        at = HEADER_BYTES
        while at + ENTRY_BYTES <= len(data):
            magic, n, _, kind, _, _, number, _, instance = ENTRY.unpack_from(data, at)
            end = at + ENTRY_BYTES + n
            if magic != MAGIC or end > len(data):
                break
            if kind == 0:
                out.add((instance.rstrip(b"\0").decode(), number))
            at = end + -n % 8
    return out


def wrapped(cap):
    """The pid of a capture under strace."""
    with open("/proc/%d/task/%d/children" % (cap.pid, cap.pid), encoding="utf-8") as f:
        return int(f.read().split()[0])


def pause(broker, seconds):
    """The broker does nothing for so long."""
    broker.signal(signal.SIGSTOP)
    time.sleep(seconds)
    broker.signal(signal.SIGCONT)
