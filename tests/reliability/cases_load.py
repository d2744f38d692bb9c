# SPDX-License-Identifier: Apache-2.0
"""Full rate to the real broker: sent = delivered + named; an independent reader decodes every record."""

import re
import subprocess
import time

from kit import capture, net
from kit.case import test
from world import TOP, Load, raw

WRAPPER = """syntax = "proto3";
import "record.proto";
message Many { repeated sidetap.v1.Call calls = 1; }
"""


def length_prefixed(value):
    """Field 1 of Many: so one run of protoc decodes many records."""
    out, n = bytearray(b"\n"), len(value)
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out) + value


def decode_all(w, source):
    """Every record by protoc and record.proto alone: (records, those with a body of 1 KiB that is whole)."""
    with open(w.case.path("many.proto"), "w", encoding="utf-8") as f:
        f.write(WRAPPER)
    seen = whole = 0
    chunk = []

    def decode():
        nonlocal seen, whole
        out = subprocess.run(["protoc", "--decode=Many", "-I", w.case.directory, "-I", TOP + "/sink",
                              "many.proto"], input=b"".join(chunk), stdout=subprocess.PIPE,
                             check=True).stdout
        seen += len(re.findall(rb"^  record_number: ", out, re.M))
        whole += len(re.findall(rb"^    body_bytes: 1024$", out, re.M))
        chunk.clear()
    for _, _, value in source:
        chunk.append(length_prefixed(value))
        if len(chunk) == 20000:
            decode()
    if chunk:
        decode()
    return seen, whole


@test(timeout=3600, each=["spool", "memory"])
def full_rate(w, how):
    """With a spool behind it, and without."""
    w.start(partitions=4)
    cap = w.capture(spool="1GiB" if how == "spool" else None)
    cpu = capture.cpu_seconds(cap.pid)
    load = Load(w.args.rate, w.args.seconds, connections=32)
    while load.proc.poll() is None:
        w.rss(cap)
        time.sleep(0.5)
    calls = load.wait()
    if how == "spool":
        w.wait_drained(120)
    cpu = capture.cpu_seconds(cap.pid) - cpu
    end = w.end(cap)
    if w.spooled():  # what came out of the rings at the end may have filled the queue
        last = w.capture(spool="1GiB")
        w.wait_drained(120)
        w.end(last)
    parsed = w.audit()
    probe = capture.stage(parsed, "probe")["exits"]
    records = capture.stage(parsed, "records")
    w.note(calls=calls, captured=end["calls"], exits=records["exits"], ring_full=probe.get(
        "ring_full", 0), cpu_us_per_call=round(cpu / calls * 1e6, 1),
        spooled="records go to the spool" in end["text"])
    w.check(records["in"] == end["calls"], "%s records of %d calls" % (records, end["calls"]))
    # A machine that is too slow for the rate loses packets in the rings, or has more calls open than are kept, both
    # by name: then calls are cut, and counted in halves.
    cut = probe.get("ring_full", 0) + capture.stage(parsed, "pairing")["exits"].get("evicted", 0)
    w.note(cut=cut)
    w.check(end["calls"] == calls or cut, "%d of %d calls were captured" % (end["calls"], calls))
    seen = sum(len(s) for s in w.order(parsed).values())
    exits = records["exits"]
    w.check(seen == exits["delivered"] + exits.get("spooled", 0), "the ledger says %s, %d are there" % (
        records["exits"], seen))
    codecs = w.broker.codecs("calls")
    w.check(codecs == {4}, "codecs of the batches: %s" % codecs)
    decoded, whole = decode_all(w, raw(w.broker.bootstrap, "calls"))
    w.note(decoded=decoded, whole_bodies=whole)
    w.check(decoded == seen + parsed["duplicates"], "protoc decoded %d of %d" % (decoded, seen))
    w.check(whole == seen or cut, "%d of %d bodies are whole" % (whole, seen))
    w.quick()
    w.check(w.memory < 128, "RssAnon was %.0f MiB" % w.memory)
