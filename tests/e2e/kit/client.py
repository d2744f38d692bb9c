# SPDX-License-Identifier: Apache-2.0
"""The HTTP/1 client: every call carries a token of its own in the request and expects it back."""

import itertools
import os
import socket
import time

from . import http1
from .http1 import Eof, Stream, digest, exchange, get

_numbers = itertools.count(1)


def new_token():
    return "c%x-%d" % (os.getpid(), next(_numbers))


def with_token(target, token):
    return target + ("&" if "?" in target else "?") + "call=" + token


class WrongAnswer(Exception):
    pass


class Client:
    """One connection. Logs calls in the same form as the service, in `log`."""

    def __init__(self, host, port, log=None, options=(), source=None, family=None, timeout=20):
        self.log = log if log is not None else []
        if family is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        for level, name, value in options:
            self.sock.setsockopt(level, name, value)
        if source:
            self.sock.bind(source)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = Stream(self.sock)
        self.client = http1.address(self.sock.getsockname())
        self.server = http1.address(self.sock.getpeername())
        self.host = self.server
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        http1.set_reset_on_close(self.sock)
        self.sock.close()

    # --- building

    def build(self, method, target, headers=(), body=b"", chunk=0, trailers=(), token=None,
              version="HTTP/1.1", head_only=False):
        """(exchange, bytes to send)"""
        token = token or new_token()
        self.number += 1
        x = exchange(self.client, self.server, self.number)
        x["call"], x["method"], x["version"] = token, method, version
        x["target"] = target if method == "CONNECT" else with_token(target, token)
        x["request_headers"] = [["Host", self.host], ["X-Call", token]] + [list(h) for h in headers]
        coded = body
        if chunk:
            x["request_headers"].append(["Transfer-Encoding", "chunked"])
            if trailers:
                x["request_headers"].append(["Trailer", ", ".join(n for n, _ in trailers)])
            x["request_trailers"] = [list(t) for t in trailers]
            coded = http1.chunked(body, chunk, trailers)
        elif body or method in ("POST", "PUT"):
            x["request_headers"].append(["Content-Length", str(len(body))])
        x["request_sha256"], x["request_bytes"] = digest(body), len(body)
        x["sent"] = time.monotonic()
        head = "%s %s %s\r\n" % (method, x["target"], version)
        wire = head.encode() + http1.fields(x["request_headers"]) + b"\r\n"
        return x, (wire if head_only else wire + coded), coded

    # --- reading

    def read(self, x, expect_token=True):
        """Reads the answer of x into it and logs it. Raises Eof when none came."""
        while True:
            first = self.stream.line()
            _, status, reason = (first + " ").split(" ", 2)
            headers = self.stream.headers()
            if not (100 <= int(status) < 200 and status != "101"):
                break
            x["interim"].append(int(status))
        x["status"], x["reason"], x["response_headers"] = int(status), reason.strip(), headers
        none = x["method"] == "HEAD" or x["status"] in (204, 304, 101) or (
            x["method"] == "CONNECT" and x["status"] // 100 == 2)
        try:
            body, x["response_trailers"] = self.stream.body(headers, none, until_close=True)
        except Eof as e:
            body = e.partial
            x["end"] = "cut"
        x["response_sha256"], x["response_bytes"] = digest(body), len(body)
        if expect_token and get(headers, "x-call") != x["call"]:
            raise WrongAnswer("asked %s, got %s" % (x["call"], get(headers, "x-call")))
        self.log.append(x)
        return body

    def call(self, method, target, headers=(), body=b"", **how):
        x, wire, _ = self.build(method, target, headers, body, **how)
        self.sock.sendall(wire)
        self.read(x)
        return x

    def call_bytewise(self, method, target, headers=(), body=b"", **how):
        x, wire, _ = self.build(method, target, headers, body, **how)
        for i in range(len(wire)):
            self.sock.sendall(wire[i:i + 1])
        self.read(x)
        return x

    def pipeline(self, requests):
        """All requests in one write, then all answers."""
        built = [self.build(*r) for r in requests]
        self.sock.sendall(b"".join(wire for _, wire, _ in built))
        for x, _, _ in built:
            self.read(x)
        return [x for x, _, _ in built]

    def expect_continue(self, target, body):
        x, head, coded = self.build("POST", target, [["Expect", "100-continue"]], body,
                                    head_only=True)
        self.sock.sendall(head)
        line = self.stream.line()
        if " 100 " not in line:
            raise WrongAnswer("no 100: " + line)
        self.stream.headers()
        x["interim"].append(100)
        self.sock.sendall(coded)
        self.read(x)
        return x

    def no_answer(self, method, target):
        """A call whose connection ends before a byte of an answer."""
        x, wire, _ = self.build(method, target)
        self.sock.sendall(wire)
        if self.stream.rest():
            raise WrongAnswer("an answer came")
        x["end"] = "noreply"
        self.log.append(x)
        return x

    def switch(self, method, target, headers=(), sizes=(5, 3000, 1)):
        """Upgrade or CONNECT, then bytes that come back; ends with FIN."""
        x = self.call(method, target, headers)
        t = exchange(self.client, self.server, self.number + 1)
        t["kind"] = "opaque"
        for n in sizes:
            out = bytes((i * 7 + n) & 0xff for i in range(n))
            self.sock.sendall(out)
            if self.stream.take(n) != out:
                raise WrongAnswer("the tunnel changed bytes")
            t["request_bytes"] += n
            t["response_bytes"] += n
        self.sock.shutdown(socket.SHUT_WR)
        self.stream.rest()
        self.log.append(t)
        return x
