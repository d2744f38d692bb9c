#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""
The golden captures of real frameworks, cut: attached before each of their packets, and with segments lost at
random. No field may be wrong and no reply be paired with another's request; the share of the calls that are
right in every field is printed.

  cuts.py PROGRAM [--all] [NAME...]      --all: each packet, and many more losses; else some of them
"""

import argparse
import concurrent.futures
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "peers"))
sys.dont_write_bytecode = True

from kit import match, pcap, peer, service  # noqa: E402
from kit.capture import Failure  # noqa: E402

OFFSETS, LOSSES = 20, 8  # of each capture, without --all
RATES = (0.001, 0.01, 0.05)


class Golden:
    def __init__(self, program, name, directory):
        self.program, self.name, self.directory = program, name, directory
        log = service.read_log(os.path.join(HERE, name + ".log"))
        self.head, self.packets = pcap.read(os.path.join(HERE, name + ".pcap"))
        self.scenario = peer.scenario(log[0]["peer"], log[0]["scenario"])
        self.lines = log[1:]
        self.starts = self.read_starts()

    def read_starts(self):
        """When each line's call began, from the expected records: nanoseconds, by line number."""
        with open(os.path.join(HERE, self.name + ".jsonl"), encoding="utf-8") as f:
            m = match.Match(self.lines, [json.loads(line) for line in f], self.scenario.extra).run()
        return {n: r[0].get("request", {}).get("start_unix_ns", 0) for n, r in m.found.items()}

    def records(self, packets, tag):
        """What a capture of these packets exports; its ledger balances."""
        base = os.path.join(self.directory, "%s-%s" % (self.name, tag))
        pcap.write(base + ".pcap", self.head, packets)
        sink = "file:" + base
        self.run("capture", "-r", base + ".pcap", "--no-redact", "-q", "-o", sink)
        self.run("ledger", "-i", sink, "--check")
        out = self.run("export", "-i", sink, "-f", "jsonl", "--bodies", "base64")
        shutil.rmtree(base)
        os.unlink(base + ".pcap")
        return [json.loads(line) for line in out.splitlines()]

    def run(self, *argv):
        r = subprocess.run([self.program, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           stdin=subprocess.DEVNULL, timeout=60, check=False)
        if r.returncode:
            raise Failure("%s ended with %d: %s" % (argv[0], r.returncode,
                                                    r.stderr.decode(errors="replace")[-300:]))
        return r.stdout

    def judge(self, packets, tag, after_ns):
        """(calls that began after that time, those right in every field)"""
        try:
            m = match.late(self.lines, self.records(packets, tag), self.scenario.extra)
        except Failure as e:
            raise Failure("%s: %s" % (tag, e)) from None
        calls = [n for n, start in self.starts.items() if start >= after_ns]
        return len(calls), sum(n in m.whole for n in calls)

    def attach_at(self, number):
        return self.judge(self.packets[number:], "attach-%d" % number,
                          pcap.time_ns(self.packets[number]))

    def lose(self, rate, seed):
        """None: nothing was lost."""
        r = random.Random("%s %g %d" % (self.name, rate, seed))
        kept = [p for p in self.packets if not pcap.payload_bytes(p) or r.random() >= rate]
        if len(kept) == len(self.packets):
            return None
        return self.judge(kept, "lose-%g-%d" % (rate, seed), 0)


def percent(pairs):
    calls = sum(p[0] for p in pairs)
    return "%.1f %%" % (100 * sum(p[1] for p in pairs) / calls) if calls else "-"


def losses(golden, rate, wanted, tries):
    out = []
    for seed in range(tries):
        if len(out) < wanted:
            pair = golden.lose(rate, seed)
            out += [pair] if pair else []
    return out


def examine(program, name, directory, every):
    """What to say of one golden capture; Failure when something is wrong."""
    g = Golden(program, name, directory)
    count = len(g.packets)
    step = 1 if every else max(1, count // OFFSETS)
    offsets = list(range(1, count, step))
    text = "attached at %d of %d packets: %s right" % (
        len(offsets), count, percent([g.attach_at(n) for n in offsets]))
    for rate in RATES:
        pairs = losses(g, rate, LOSSES * (8 if every else 1), LOSSES * (40 if every else 4))
        if pairs:
            text += "; %g %% lost, %d times: %s" % (rate * 100, len(pairs), percent(pairs))
    return text


def names_of_peers():
    out = []
    for f in sorted(os.listdir(HERE)):
        if f.endswith(".log"):
            with open(os.path.join(HERE, f), encoding="utf-8") as log:
                if "peer" in json.loads(log.readline() or "{}"):
                    out.append(f[:-4])
    return out


def main():
    p = argparse.ArgumentParser(description="Golden captures, attached late and with losses.")
    p.add_argument("program")
    p.add_argument("names", nargs="*")
    p.add_argument("--all", action="store_true", help="each packet, and many more losses")
    args = p.parse_intermixed_args()
    names = args.names or names_of_peers()
    failed = 0
    with tempfile.TemporaryDirectory() as directory, \
            concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [(n, pool.submit(examine, args.program, n, directory, args.all)) for n in names]
        for name, job in jobs:
            try:
                print("ok cuts_%s # %s" % (name, job.result()), flush=True)
            except Failure as e:
                failed += 1
                print("not ok cuts_%s: %s" % (name, " ".join(str(e).split())), flush=True)
    print("%d passed, %d failed" % (len(names) - failed, failed))
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
