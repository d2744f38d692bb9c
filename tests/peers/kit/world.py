# SPDX-License-Identifier: Apache-2.0
"""What a scenario gets: the namespace's applications, their log, a directory, the peer's cache."""

import json
import os
import select
import subprocess
import time

from . import net, proxies
from .capture import Failure

APP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app")


def tail(path, size=400):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()[-size:].strip()


class Client:
    """An application that makes its calls once for each line of its stdin, and says "done" after each."""

    def __init__(self, proc, name, err, seconds):
        self.proc, self.name, self.err, self.seconds = proc, name, err, seconds
        self.buffer = b""

    def fail(self, text):
        raise Failure("client %s %s: %s" % (self.name, text, tail(self.err)))

    def begin(self):
        try:
            self.proc.stdin.write(b"round\n")
            self.proc.stdin.flush()
        except BrokenPipeError:
            self.fail("ended with %s" % self.proc.wait())

    def wait_done(self):
        end = time.monotonic() + self.seconds
        while True:
            line, newline, rest = self.buffer.partition(b"\n")
            if newline:
                self.buffer = rest
                if line.strip() == b"done":
                    return
                continue
            if not select.select([self.proc.stdout], [], [], max(0, end - time.monotonic()))[0]:
                self.fail("was not done within %g s" % self.seconds)
            got = os.read(self.proc.stdout.fileno(), 65536)
            if not got:
                self.fail("ended with %s" % self.proc.wait())
            self.buffer += got

    def round(self):
        self.begin()
        self.wait_done()

    def finish(self):
        """End of stdin: it closes its connections and exits 0."""
        self.proc.stdin.close()
        try:
            code = self.proc.wait(self.seconds)
        except subprocess.TimeoutExpired:
            self.fail("did not exit")
        self.proc.stdout.close()
        if code:
            self.fail("exited with %d" % code)


class World:
    def __init__(self, directory, cache, golden=False):
        self.directory, self.cache, self.golden = directory, cache, golden
        self.log = self.path("log.jsonl")
        open(self.log, "w", encoding="utf-8").close()
        self.started = 0
        self.all = []

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def environment(self, more=None):
        own = {"PEER_LOG": self.log, "PEER_CACHE": self.cache, "PYTHONPATH": APP,
               "PYTHONDONTWRITEBYTECODE": "1"}
        if self.golden:
            own["PEER_GOLDEN"] = "1"
        return {**os.environ, **own, **(more or {})}

    def spawn(self, name, argv, env, cwd, **pipes):
        self.started += 1
        err = self.path("%s-%d.err" % (name, self.started))
        with open(err, "wb") as f:
            p = subprocess.Popen([str(a) for a in argv], stderr=f, env=self.environment(env),
                                 cwd=cwd or self.directory, preexec_fn=net.die_with_parent, **pipes)
        self.all.append((name, p, err))
        return p, err

    def start(self, name, argv, port=None, ready=None, env=None, cwd=None, seconds=30):
        """A server: returns once it listens on port (or each of a list), or ready() is true."""
        out = open(self.path(name + ".out"), "ab")
        p, err = self.spawn(name, argv, env, cwd, stdin=subprocess.DEVNULL, stdout=out)
        ports = port if isinstance(port, (list, tuple)) else [port] if port else []

        def look():
            if p.poll() is not None:
                raise Failure("%s ended with %d: %s" % (name, p.returncode, tail(err)))
            return all(proxies.listening("", n) for n in ports) and (ready is None or ready())

        try:
            net.wait_until("%s is ready" % name, look, seconds, 0.005)
        except TimeoutError as e:
            raise Failure("%s: %s" % (e, tail(err))) from None
        return p

    def client(self, name, argv, env=None, cwd=None, seconds=30):
        p, err = self.spawn(name, argv, env, cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return Client(p, name, err, seconds)

    def check_alive(self):
        """No server may have died meanwhile."""
        for name, p, err in self.all:
            if p.poll() not in (None, 0):
                raise Failure("%s ended with %d: %s" % (name, p.returncode, tail(err)))

    def log_size(self):
        """Whole lines written so far."""
        with open(self.log, "rb") as f:
            return f.read().count(b"\n")

    def lines(self, first=0):
        with open(self.log, encoding="utf-8") as f:
            return [json.loads(line) for line in f.readlines()[first:]]
