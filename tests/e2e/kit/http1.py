# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 on a raw socket: the little that the test peers need, strict, no library in between."""

import hashlib
import socket


class Eof(Exception):
    """The other side closed; `partial` holds what came before it."""

    def __init__(self, partial=b""):
        super().__init__("end of stream after %d bytes" % len(partial))
        self.partial = partial


def digest(body):
    return hashlib.sha256(body).hexdigest()


def pattern(n, seed):
    """n bytes that tell where they belong: a shifted or spliced body has another hash."""
    block = hashlib.sha512(str(seed).encode()).hexdigest().encode()
    out = bytearray()
    i = 0
    while len(out) < n:
        out += b"%08x" % i + block
        i += 1
    return bytes(out[:n])


def chunked(body, size, trailers=()):
    out = bytearray()
    for at in range(0, len(body), size):
        piece = body[at:at + size]
        out += b"%x\r\n" % len(piece) + piece + b"\r\n"
    out += b"0\r\n" + fields(trailers) + b"\r\n"
    return bytes(out)


def fields(headers):
    return b"".join(("%s: %s\r\n" % (n, v)).encode("latin-1") for n, v in headers)


def get(headers, name, default=None):
    for n, v in headers:
        if n.lower() == name:
            return v
    return default


def address(sock_name):
    host, port = sock_name[0], sock_name[1]
    if host.startswith("::ffff:"):
        host = host[7:]
    return "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)


class Stream:
    """Buffered reading of one socket, HTTP/1 framing on top."""

    def __init__(self, sock):
        self.sock = sock
        self.buf = bytearray()

    def more(self):
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Eof(bytes(self.buf))
        self.buf += data

    def take(self, n):
        while len(self.buf) < n:
            self.more()
        out = bytes(self.buf[:n])
        del self.buf[:n]
        return out

    def peek(self, n):
        while len(self.buf) < n:
            self.more()
        return bytes(self.buf[:n])

    def line(self):
        while True:
            at = self.buf.find(b"\r\n")
            if at >= 0:
                return self.take(at + 2)[:-2].decode("latin-1")
            self.more()

    def headers(self):
        out = []
        while True:
            line = self.line()
            if not line:
                return out
            name, _, value = line.partition(":")
            out.append([name, value.strip(" \t")])

    def chunks(self):
        """(body, trailers)"""
        body = bytearray()
        while True:
            size = int(self.line().split(";")[0], 16)
            if size == 0:
                return bytes(body), self.headers()
            body += self.take(size)
            self.take(2)

    def rest(self):
        try:
            while True:
                self.more()
        except Eof as e:
            self.buf.clear()
            return e.partial

    def body(self, headers, none=False, until_close=False):
        """(body, trailers) as framed by the headers."""
        if none:
            return b"", []
        if "chunked" in get(headers, "transfer-encoding", "").lower():
            return self.chunks()
        length = get(headers, "content-length")
        if length is not None:
            return self.take(int(length)), []
        return (self.rest(), []) if until_close else (b"", [])


def exchange(client, server, number):
    """The form in which both peers log one call; the oracle compares it with the record."""
    return {
        "client": client, "server": server, "number": number, "kind": "call",
        "method": "", "target": "", "request_headers": [], "request_trailers": [],
        "request_sha256": digest(b""), "request_bytes": 0,
        "status": 0, "reason": "", "response_headers": [], "response_trailers": [],
        "response_sha256": digest(b""), "response_bytes": 0,
        "interim": [], "end": "ok", "call": "", "sent": 0.0,  # monotonic seconds
    }


def token_of(target, headers):
    query = target.partition("?")[2]
    for part in query.split("&"):
        if part.startswith("call="):
            return part[5:]
    return get(headers, "x-call", "")


def set_reset_on_close(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
