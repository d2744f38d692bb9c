# SPDX-License-Identifier: Apache-2.0
"""sidetap as a child process, and what it wrote."""

import json
import os
import signal
import subprocess
import time

from . import net


class Failure(Exception):
    """A test's verdict: one line that says what is wrong."""


class Skip(Exception):
    pass


class Capture:
    """A running `sidetap capture`."""

    def __init__(self, case, options, sink, cgroup=None, wrap=(), stdout=None, wait=True,
                 ready_seconds=15, env=None, name="capture", ready=None, program=None):
        case.count += 1
        self.case = case
        self.sink = sink
        base = case.path("%s-%d" % (name, case.count))
        self.ready = ready or base + ".ready"
        self.err_path, self.out_path = base + ".err", base + ".out"
        argv = [*wrap, program or case.program, "capture", *options]
        if sink:
            argv += ["-o", sink]
        argv += ["--ready-file", self.ready]
        with open(base + ".cmd", "w", encoding="utf-8") as f:
            f.write(" ".join(argv) + "\n")
        self.err_file = open(self.err_path, "wb")
        self.out_file = open(self.out_path, "wb") if stdout is None else stdout

        def before():
            net.die_with_parent()
            if cgroup:
                net.enter_cgroup(cgroup)

        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.out_file,
                                     stderr=self.err_file, preexec_fn=before,
                                     env={**os.environ, **(env or {})})
        case.captures.append(self)
        if wait:
            self.wait_ready(ready_seconds)

    @property
    def pid(self):
        return self.proc.pid

    def wait_ready(self, seconds=15):
        def look():
            return os.path.exists(self.ready) or self.proc.poll() is not None
        net.wait_until("--ready-file", look, seconds, 0.005)
        if not os.path.exists(self.ready):
            raise Failure("capture ended with %s before it was ready: %s" % (
                self.proc.returncode, self.errors()[-300:]))

    def errors(self):
        self.err_file.flush()
        with open(self.err_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def output(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait(self, seconds=30):
        try:
            return self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure("capture did not end within %g s" % seconds) from None

    def stop(self, sig=signal.SIGTERM, seconds=30, expect=0):
        self.proc.send_signal(sig)
        code = self.wait(seconds)
        if code != expect:
            raise Failure("capture ended with %s, not %s: %s" % (code, expect,
                                                                 self.errors()[-400:]))
        return code

    def reap(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()


def export(case, source, *options):
    """The calls of a source as a list of dictionaries."""
    r = subprocess.run([case.program, "export", "-i", source, "-f", "jsonl", "--bodies", "base64",
                        *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                       timeout=60)
    with open(case.path("export.jsonl"), "wb") as f:
        f.write(r.stdout)
    if r.returncode:
        raise Failure("export ended with %d: %s" % (r.returncode,
                                                    r.stderr.decode(errors="replace")[-300:]))
    return [json.loads(line) for line in r.stdout.splitlines()]


def ledger(case, source, *options):
    r = subprocess.run([case.program, "ledger", "-i", source, "--json", *options],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60)
    with open(case.path("ledger.json"), "wb") as f:
        f.write(r.stdout)
    try:
        return json.loads(r.stdout)
    except ValueError:
        raise Failure("ledger --json is no JSON: %r %s" % (
            r.stdout[:200], r.stderr.decode(errors="replace")[-300:])) from None


def check_ledger(case, source, lossless=True, expect=0):
    """`ledger --check` (and --lossless): the end of every test. The parsed ledger."""
    for flags in (["--check"], ["--check", "--lossless"]) if lossless else (["--check"],):
        r = subprocess.run([case.program, "ledger", "-i", source, *flags], check=False, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        with open(case.path("ledger.txt"), "a", encoding="utf-8") as f:
            f.write(r.stdout)
        if r.returncode != expect:
            raise Failure("ledger %s ended with %d, not %d: %s" % (
                " ".join(flags), r.returncode, expect, " / ".join(
                    line for line in r.stdout.splitlines() if line.strip())[-500:]))
    parsed = ledger(case, source)
    if expect == 0:
        check_identities(parsed)
        case.ledger_checked = True
    return parsed


def check_ledger_says_no(case, source):
    """`ledger --lossless` must end with 1."""
    r = subprocess.run([case.program, "ledger", "-i", source, "--lossless"], check=False, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    if r.returncode != 1:
        raise Failure("ledger --lossless ended with %d: %s" % (r.returncode, r.stdout[-300:]))


def check_identities(parsed):
    """in = exits + held for every stage, by our own arithmetic, not by the program's."""
    if not parsed.get("stages"):
        raise Failure("the ledger has no stages")
    for stage in parsed["stages"]:
        exits = stage["exits"]
        rest = stage["in"] - sum(exits.values()) - stage.get("held", 0)
        if rest or stage.get("residue", 0):
            raise Failure("stage %s: in %d, exits %s, held %d: residue %d (says %s)" % (
                stage["name"], stage["in"], exits, stage.get("held", 0), rest,
                stage.get("residue")))
        if stage.get("held", 0):
            raise Failure("stage %s still holds %d %s in the final ledger" % (
                stage["name"], stage["held"], stage.get("unit")))
    if not parsed.get("final"):
        raise Failure("the ledger is not final")


def stage(parsed, name):
    for s in parsed["stages"]:
        if s["name"] == name:
            return s
    raise Failure("the ledger has no stage %s, only %s" % (
        name, [s["name"] for s in parsed["stages"]]))


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
        rest = f.read().rpartition(")")[2].split()
    return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


def settle(seconds):
    """Only where a fault has a length in time, never in place of a condition."""
    time.sleep(seconds)
