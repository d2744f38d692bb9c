# SPDX-License-Identifier: Apache-2.0
"""One scenario against a live capture: from the first byte, and attached while its connections are old."""

import json
import os
import shutil
import subprocess

from . import capture, match, net
from .capture import Failure

GOLDEN_BYTES = 60 << 10


class Run:
    def __init__(self, case, world, scenario, peer):
        self.case, self.world, self.scenario, self.peer = case, world, scenario, peer
        self.shares = []

    def attach(self):
        ports = ",".join(str(p) for p in self.scenario.ports)
        return self.case.capture("-p", ports, "-a", self.case.attach("cgroup"))

    def records(self, cap, lossless):
        """Stops the capture; its calls, once the ledger proves that they are all."""
        cap.stop()
        parsed = capture.check_ledger(self.case, cap.sink, lossless=lossless)
        records = capture.export(self.case, cap.sink)
        if not self.scenario.parts and parsed["calls_delivered"] != len(records):
            raise Failure("the ledger says %d calls delivered, %d were read" % (
                parsed["calls_delivered"], len(records)))
        return records

    def run(self):
        """Live first: the capture is there before the servers. What the verdict says."""
        for mode in self.scenario.modes:
            getattr(self, mode)()
            self.world.check_alive()
        return ", ".join(self.shares)

    def servers(self):
        if not self.world.started:
            self.scenario.start(self.world)

    def live(self):
        cap = self.attach()
        self.servers()
        first = self.world.log_size()
        client = self.scenario.client(self.world)
        for _ in range(self.scenario.rounds):
            client.round()
        client.finish()
        records = self.records(cap, True)
        try:
            match.strict(self.world.lines(first), records, self.scenario.extra)
        except Failure as e:
            raise Failure("live: %s" % e) from None
        self.shares.append("%d calls" % len(records))

    def late(self):
        """Attached between two rounds: every connection is quiet and in the middle of its life."""
        self.servers()
        first = self.world.log_size()
        client = self.scenario.client(self.world)
        client.round()
        mark = self.world.log_size() - first
        cap = self.attach()
        client.round()
        client.round()
        client.finish()
        self.judge("late", first, mark, cap)

    def mid(self):
        """Attached while the client is in the middle of its calls."""
        self.servers()
        first = self.world.log_size()
        client = self.scenario.client(self.world)
        client.begin()
        cap = self.case.capture("-p", ",".join(str(p) for p in self.scenario.ports), "-a",
                                self.case.attach("cgroup"), wait=False)
        ready = False
        while not ready:
            client.wait_done()
            ready = os.path.exists(cap.ready)
            if cap.proc.poll() is not None:
                cap.wait_ready()
            mark = self.world.log_size() - first
            client.begin()
        client.wait_done()
        client.round()
        client.finish()
        self.judge("mid", first, mark, cap)

    def judge(self, mode, first, mark, cap):
        records = self.records(cap, False)
        try:
            m = match.late(self.world.lines(first), records, self.scenario.extra, mark)
        except Failure as e:
            raise Failure("%s: %s" % (mode, e)) from None
        calls, there, whole = m.share()
        text = "%s %d/%d" % (mode, there, calls)
        if there > whole:
            text += " (%d in full)" % whole
        self.shares.append(text)
        print("\n".join([text] + m.lacking()), flush=True)
        if not calls:
            raise Failure(mode + ": the applications made no call after the attach")
        if there < calls * self.scenario.share:
            raise Failure("%s, under %g of them" % (text, self.scenario.share))

    # --- a golden capture

    def golden(self, into):
        """The live run once more, by tcpdump: into/PEER_SCENARIO.pcap and .log."""
        pcap, err = self.case.path("golden.pcap"), self.case.path("tcpdump.err")
        ports = " or ".join("tcp port %d" % p for p in self.scenario.ports)
        with open(err, "wb") as f:
            dump = subprocess.Popen(["tcpdump", "-i", "lo", "-s", "0", "-B", "65536", "-U", "--immediate-mode",
                                     "-Z", "root", "-w", pcap, ports], stderr=f)
        net.wait_until("tcpdump", lambda: b"listening on" in open(err, "rb").read())
        capture.settle(0.3)
        self.servers()
        first = self.world.log_size()
        client = self.scenario.client(self.world)
        client.round()
        client.finish()
        capture.settle(0.7)
        dump.terminate()
        dump.wait()
        base = os.path.join(into, "%s_%s" % (self.peer, self.scenario.name))
        shutil.copy(pcap, base + ".pcap")
        without_bare_acks(base + ".pcap")
        size = os.path.getsize(base + ".pcap")
        if size > GOLDEN_BYTES:
            os.unlink(base + ".pcap")
            raise Failure("the golden capture has %d bytes, over %d" % (size, GOLDEN_BYTES))
        with open(base + ".log", "w", encoding="utf-8") as f:
            f.write(json.dumps({"peer": self.peer, "scenario": self.scenario.name}) + "\n")
            f.writelines(json.dumps(x) + "\n" for x in self.world.lines(first))
        return "%d bytes" % size


def without_bare_acks(path):
    """Segments without payload, SYN, FIN or RST tell nothing: they leave the file."""
    from . import pcap
    head, packets = pcap.read(path)
    pcap.write(path, head, [p for p in packets if pcap.payload_bytes(p) or pcap.flags(p) & 7])
