# SPDX-License-Identifier: Apache-2.0
"""
The HTTP/1 service under observation. What it does is chosen by the path, so that each odd case of
the protocol can be asked for; it logs each call exactly as it saw and answered it, one JSON a line.

  /echo                the request's body back          /bytes?n=N       N bytes with Content-Length
  /chunked?n=N&size=S  chunked, with trailers           /status?code=C   no body, or a length with 304
  /untilclose?n=N      no length, closed at the end     /rst?n=N         N of 2N bytes, then a reset
  /cut?n=N             N of 2N bytes, then FIN          /noreply         closes without a byte
  /early               103 first                        /slow?ms=N       waits before it answers
"""

import json
import os
import socket
import struct
import sys
import threading
import time

from . import http1
from .http1 import Eof, Stream, digest, exchange, get

PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"


def query(target, name, default):
    for part in target.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        if key == name:
            return value
    return default


def skip_proxy_preamble(stream):
    """PROXY v1 or v2 (haproxy proxy-protocol.txt 2.1, 2.2); True when there was one."""
    if stream.peek(12) == PROXY_V2:
        head = stream.take(16)
        stream.take(struct.unpack(">H", head[14:16])[0])
        return True
    if stream.peek(6) == b"PROXY ":
        stream.line()
        return True
    return False


class Connection:
    def __init__(self, service, sock):
        self.service = service
        self.sock = sock
        self.stream = Stream(sock)
        self.client = http1.address(sock.getpeername())
        self.server = http1.address(sock.getsockname())
        self.number = 0

    def run(self):
        try:
            if self.service.proxy_protocol and not skip_proxy_preamble(self.stream):
                self.service.complain("no PROXY preamble from " + self.client)
            while self.one():
                pass
        except Eof as e:
            if e.partial:
                self.service.complain("request cut after %d bytes" % len(e.partial))
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            self.sock.close()

    def read_request(self):
        """An exchange with the request filled in, and its body; None at the end."""
        try:
            first = self.stream.line()
        except Eof as e:
            if e.partial:
                raise
            return None, b""
        self.number += 1
        x = exchange(self.client, self.server, self.number)
        x["method"], x["target"], x["version"] = first.split(" ")
        x["request_headers"] = self.stream.headers()
        if get(x["request_headers"], "expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            x["interim"].append(100)
        body, x["request_trailers"] = self.stream.body(x["request_headers"])
        x["request_sha256"], x["request_bytes"] = digest(body), len(body)
        x["call"] = http1.token_of(x["target"], x["request_headers"])
        return x, body

    def one(self):
        x, body = self.read_request()
        if x is None:
            return False
        if x["method"] == "CONNECT":
            return self.tunnel(x, 200, "Connection Established", [])
        if get(x["request_headers"], "upgrade"):
            return self.tunnel(x, 101, "Switching Protocols",
                               [["Upgrade", get(x["request_headers"], "upgrade")],
                                ["Connection", "Upgrade"]])
        path = x["target"].partition("?")[0]
        if path.startswith("http://"):
            path = "/" + path[7:].partition("/")[2]
        return getattr(self, "do_" + path.strip("/").split("/")[0], self.do_echo)(x, body)

    def answer(self, x, status, reason, headers, body=b"", coded=None, log_body=None):
        """Sends and logs; coded: the body as on the wire when it is chunked."""
        x["status"], x["reason"] = status, reason
        x["response_headers"] = [["X-Call", x["call"]]] + headers
        shown = body if log_body is None else log_body
        x["response_sha256"], x["response_bytes"] = digest(shown), len(shown)
        head = "HTTP/1.1 %d %s\r\n" % (status, reason)
        out = head.encode() + http1.fields(x["response_headers"]) + b"\r\n"
        self.service.log(x)
        self.sock.sendall(out + (body if coded is None else coded))
        return get(x["request_headers"], "connection", "").lower() != "close" and (
            x["version"] != "HTTP/1.0")

    def do_echo(self, x, body):
        return self.sized(x, body or x["call"].encode())

    def sized(self, x, body, status=200, reason="OK", extra=()):
        headers = [["Content-Length", str(len(body))], *extra]
        if x["method"] == "HEAD":
            return self.answer(x, status, reason, headers, b"")
        return self.answer(x, status, reason, headers, body)

    def do_bytes(self, x, _body):
        return self.sized(x, http1.pattern(int(query(x["target"], "n", "1024")), x["call"]))

    def do_slow(self, x, body):
        time.sleep(int(query(x["target"], "ms", "100")) / 1000)
        return self.do_echo(x, body)

    def do_chunked(self, x, _body):
        body = http1.pattern(int(query(x["target"], "n", "3000")), x["call"])
        trailers = [["X-Checksum", digest(body)[:16]], ["X-Last", "yes"]]
        x["response_trailers"] = trailers
        coded = http1.chunked(body, int(query(x["target"], "size", "700")), trailers)
        return self.answer(x, 200, "OK", [["Transfer-Encoding", "chunked"],
                                          ["Trailer", "X-Checksum, X-Last"]], body, coded)

    def do_status(self, x, _body):
        code = int(query(x["target"], "code", "204"))
        if code in (204, 304):
            headers = [["Content-Length", "4321"]] if code == 304 else []
            return self.answer(x, code, "No Body", headers)
        return self.sized(x, b"status %d\n" % code, code, "Status %d" % code)

    def do_early(self, x, body):
        self.sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        x["interim"].append(103)
        return self.do_echo(x, body)

    def do_untilclose(self, x, _body):
        body = http1.pattern(int(query(x["target"], "n", "5000")), x["call"])
        self.answer(x, 200, "OK", [["Connection", "close"]], body)
        return False

    def partial(self, x):
        n = int(query(x["target"], "n", "500"))
        body = http1.pattern(2 * n, x["call"])
        self.answer(x, 200, "OK", [["Content-Length", str(2 * n)]], body, coded=body[:n],
                    log_body=body[:n])

    def do_rst(self, x, _body):
        x["end"] = "reset"
        self.partial(x)
        # The client must have read the part before the reset discards it.
        self.wait_until_acknowledged()
        http1.set_reset_on_close(self.sock)
        return False

    def do_cut(self, x, _body):
        x["end"] = "cut"
        self.partial(x)
        return False

    def do_noreply(self, x, _body):
        x["end"] = "noreply"
        self.service.log(x)
        return False

    def wait_until_acknowledged(self):
        """SIOCOUTQ: bytes in the send queue that the peer has not acknowledged."""
        import fcntl
        for _ in range(2000):
            left = struct.unpack("i", fcntl.ioctl(self.sock, 0x5411, b"\0\0\0\0"))[0]
            if not left:
                return
            time.sleep(0.001)

    def tunnel(self, x, status, reason, headers):
        """After the switch: whatever comes goes back, until the client is done."""
        self.answer(x, status, reason, headers)
        t = exchange(self.client, self.server, self.number + 1)
        t["kind"] = "opaque"
        got = bytes(self.stream.buf)
        self.stream.buf.clear()
        try:
            while True:
                if got:
                    t["request_bytes"] += len(got)
                    self.sock.sendall(got)
                    t["response_bytes"] += len(got)
                got = self.sock.recv(65536)
                if not got:
                    break
        except ConnectionResetError:
            t["end"] = "reset"
        self.service.log(t)
        return False


class Service:
    def __init__(self, host, port, log_path, proxy_protocol=False, options=(), sockets=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for level, name, value in options:
            self.listener.setsockopt(level, name, value)
        self.listener.bind((host, port))
        self.listener.listen(1024)
        self.proxy_protocol = proxy_protocol
        self.lock = threading.Lock()
        self.file = open(log_path, "a", encoding="utf-8")

    def log(self, x):
        """Before the reply is sent: whoever has the reply finds the line."""
        line = json.dumps(x)
        with self.lock:
            self.file.write(line + "\n")
            self.file.flush()

    def complain(self, text):
        sys.stderr.write("service: %s\n" % text)
        sys.stderr.flush()

    def serve(self):
        while True:
            sock, _ = self.listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c = Connection(self, sock)
            threading.Thread(target=c.run, daemon=True).start()


def read_log(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def run(host, port, log_path, ready_fd, proxy_protocol=False, options=()):
    """In a child process; one byte to ready_fd once it listens."""
    service = Service(host, port, log_path, proxy_protocol, options)
    os.write(ready_fd, b"1")
    os.close(ready_fd)
    service.serve()
