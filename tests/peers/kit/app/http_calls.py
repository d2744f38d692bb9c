# SPDX-License-Identifier: Apache-2.0
"""
A client of echo_service.py, maybe behind proxies (httpx). It logs the hop that it dials, and those between
proxies, which nobody else logs.

  http_calls.py PORT http1|http2 [--short] [--sequential] [HOP=PROTOCOL...]
  HOP: host:port between two proxies
"""

import asyncio
import os
import sys

import httpx

import peerapp

TRIES = 4
OUTCOME = {2: "OK", 3: "OK", 4: "CLIENT_ERROR", 5: "SERVER_ERROR"}
BIG = bytes(n * 7 & 255 for n in range(1500 if "PEER_GOLDEN" in os.environ else 40000))
CALLS = [("GET", "/echo", b""), ("POST", "/echo", b"a body of text\n"), ("PUT", "/echo", BIG),
         ("GET", "/chunks", b""), ("GET", "/status/404", b""), ("DELETE", "/status/503", b""),
         ("GET", "/status/204", b""), ("HEAD", "/echo", b"")]


class Calls:
    def __init__(self, port, protocol, between):
        self.base = "http://127.0.0.1:%s" % port
        self.protocol = protocol
        self.calls = CALLS[:3] if "--short" in between else CALLS
        self.sequential = "--sequential" in between
        self.between = [b.split("=") for b in between if not b.startswith("--")]
        self.client = httpx.AsyncClient(http1=protocol == "http1", http2=protocol == "http2",
                                        trust_env=False, timeout=20, limits=httpx.Limits(
                                            keepalive_expiry=600, max_connections=4))

    async def call(self, method, path, body, number):
        """A refused stream is asked again, as clients do."""
        for _ in range(TRIES):
            if await self.once(method, path, body, number):
                return
        raise AssertionError("%d tries at %s %s failed" % (TRIES, method, path))

    async def once(self, method, path, body, number):
        token = peerapp.new_token()
        target = "%s?token=%s" % (path, token)
        headers = {"x-odd-%d" % (number % 3): "value %d" % number, "x-token": token}
        try:
            r = await self.client.request(method, self.base + target, content=body or None,
                                          headers=headers)
        except httpx.ProtocolError as e:
            if self.protocol == "http1":
                raise
            self.given_up(token, method, target, e)
            return False
        reply = r.headers["x-reply"]
        if reply != "rp" + token[2:]:
            raise AssertionError("asked with %s, got %s" % (token, reply))
        expect = {"call_type": "unary", "method": method, "path": target,
                  "status_code": r.status_code, "outcome": OUTCOME[r.status_code // 100]}
        bodies = {"request_body": body, "response_body": r.content}
        address = "%s:%d" % r.extensions["network_stream"].get_extra_info("client_addr")
        dialled = self.base[7:]
        peerapp.line(token, reply, {**expect, "protocol": self.protocol, "service": dialled,
                                    "client": address, "server": dialled}, hop=dialled, **bodies)
        for hop, protocol in self.between:
            peerapp.line(token, reply, {**expect, "protocol": protocol, "server": hop}, hop=hop,
                         **bodies)
        return True

    def given_up(self, token, method, target, error):
        """A stream that a proxy refused, or a race of httpx with many streams at once: seldom."""
        refused = "error_code:7, remote_reset:True" in str(error)
        expect = {"method": method, "path": target}
        ended = {"outcome": "ABORTED", "attributes.rst_code": "7", "attributes.rst_by": "server"}
        for hop, protocol in [[self.base[7:], self.protocol], *self.between]:
            first = hop == self.base[7:]
            seen = ended if refused and first else {"outcome": {"any": [
                "ABORTED", "NO_RESPONSE", "OK", "CLIENT_ERROR", "SERVER_ERROR"]}}
            more = {} if refused and first else {"optional": str(error)}
            peerapp.line(token, "rp" + token[2:] if more else None,
                         {**expect, **seen, "protocol": protocol}, hop=hop,
                         flags_allowed=["no_response"], **more)

    async def round(self):
        """One after the other, then all at once."""
        for n, c in enumerate(self.calls):
            await self.call(*c, n)
        if self.sequential:
            return
        await asyncio.gather(*(self.call(*c, n) for n, c in enumerate(self.calls)))


def main():
    loop = asyncio.new_event_loop()
    calls = Calls(sys.argv[1], sys.argv[2], sys.argv[3:])
    peerapp.rounds(lambda: loop.run_until_complete(calls.round()))
    loop.run_until_complete(calls.client.aclose())


if __name__ == "__main__":
    main()
