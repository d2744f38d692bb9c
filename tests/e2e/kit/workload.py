# SPDX-License-Identifier: Apache-2.0
"""Sequences of calls that the tests share."""

import threading

from . import http1
from .client import Client


def odd_calls(host, port, log, **how):
    """Each odd case of HTTP/1 once; the client's log."""
    trailers = [["X-Sum", "abc"], ["X-End", "1"]]
    with Client(host, port, log, **how) as c:
        c.call("GET", "/echo")
        c.call("POST", "/echo", body=http1.pattern(3000, 1))
        c.call("PUT", "/echo", [["Content-Type", "text/plain; charset=utf-8"]], b"\xc3\xa4 text\n")
        c.call("POST", "/echo", body=http1.pattern(5000, 2), chunk=700, trailers=trailers)
        c.call("GET", "/chunked?n=4000&size=333")
        c.call("HEAD", "/bytes?n=999")
        c.call("GET", "/status?code=204")
        c.call("GET", "/status?code=304")
        c.call("GET", "/status?code=404")
        c.call("DELETE", "/status?code=503")
        c.call("GET", "/early")
        c.expect_continue("/echo", http1.pattern(2000, 3))
        c.call("OPTIONS", "/echo", [["X-Empty", ""], ["X-Twice", "a"], ["X-Twice", "b"]])
        c.call("GET", "http://absolute.example:81/echo")
        c.pipeline([("GET", "/bytes?n=%d" % (n * 37)) for n in range(1, 20)])
    with Client(host, port, log, **how) as c:
        c.call("GET", "/untilclose?n=7777")
    with Client(host, port, log, **how) as c:
        c.call("GET", "/echo", version="HTTP/1.0")
    with Client(host, port, log, **how) as c:
        c.call("GET", "/echo")
        c.call("GET", "/cut?n=600")
    with Client(host, port, log, **how) as c:
        c.call("GET", "/rst?n=600")
        log[-1]["end"] = "reset"
    with Client(host, port, log, **how) as c:
        c.call("GET", "/echo")
        c.no_answer("GET", "/noreply")
    with Client(host, port, log, **how) as c:
        c.call("GET", "/echo")
        c.switch("GET", "/chat", [["Upgrade", "websocket"], ["Connection", "Upgrade"]])
    with Client(host, port, log, **how) as c:
        c.switch("CONNECT", "inner.example:443")
    with Client(host, port, log, **how) as c:
        c.call_bytewise("POST", "/echo", body=b"one byte at a time", chunk=7)
        c.call_bytewise("GET", "/chunked?n=50&size=9")
    return log


class Load:
    """Clients in threads that call until told to stop; errors are kept, none is swallowed."""

    def __init__(self, host, port, threads, request, **how):
        self.host, self.port, self.request, self.how = host, port, request, how
        self.stopping = threading.Event()
        self.errors, self.logs = [], []
        self.threads = [threading.Thread(target=self.run, args=(self.new_log(),), daemon=True)
                        for _ in range(threads)]
        for t in self.threads:
            t.start()

    def new_log(self):
        self.logs.append([])
        return self.logs[-1]

    def run(self, log):
        try:
            n = 0
            with Client(self.host, self.port, log, **self.how) as c:
                while not self.stopping.is_set():
                    self.request(c, n)
                    n += 1
        except Exception as e:
            self.errors.append("%s: %s" % (type(e).__name__, e))

    def done(self):
        """Calls made so far."""
        return sum(len(log) for log in self.logs)

    def stop(self):
        """All calls; raises what went wrong in a client."""
        self.stopping.set()
        for t in self.threads:
            t.join(30)
        if self.errors:
            raise AssertionError("a client failed: %s" % self.errors[:3])
        return [x for log in self.logs for x in log]
