# SPDX-License-Identifier: Apache-2.0
"""
The service of the four sidecar models. Behind a gateway it answers a call by asking the risk sidecar through the
proxy (egress), and the A/B sidecar directly by HTTP and gRPC.

  service.py PORT EGRESS AB_HTTP AB_GRPC
"""

import asyncio
import sys

import grpc.aio
import httpx
import hypercorn.asyncio
from hypercorn.config import Config

import echo_service
import peerapp

SERVICE, METHOD = "demo.Experiments", "Assign"


class Downstream:
    """Connections are opened with the first call and kept."""

    def __init__(self, egress, ab_http, ab_grpc):
        self.egress, self.ab_http, self.ab_grpc = (
            "127.0.0.1:" + port for port in (egress, ab_http, ab_grpc))
        self.http = httpx.AsyncClient(trust_env=False, timeout=20,
                                      limits=httpx.Limits(keepalive_expiry=600))
        self.channel = None

    async def risk(self, token):
        """Through the proxy: this hop is logged here, the one behind it by the risk sidecar."""
        path = "/status/200?token=" + token
        r = await self.http.post("http://%s%s" % (self.egress, path), content=b"score?",
                                 headers={"host": "risk.mesh"})
        reply = "rp" + token[2:]
        peerapp.line(token, reply, {
            "protocol": "http1", "method": "POST", "path": path, "service": "risk.mesh",
            "status_code": 200, "outcome": "OK", "call_type": "unary", "server": self.egress},
            hop=self.egress, request_body=b"score?", response_body=r.content)
        return r.headers["x-reply"] == reply

    async def experiment(self, token):
        r = await self.http.get("http://%s/echo?token=%s" % (self.ab_http, token))
        if r.status_code != 200 or r.headers["x-reply"] != "rp" + token[2:]:
            return False
        if self.channel is None:
            self.channel = grpc.aio.insecure_channel(self.ab_grpc)
        call = self.channel.unary_unary("/%s/%s" % (SERVICE, METHOD))
        return b"rp" + token[2:].encode() in await call(b"who " + token.encode(), timeout=20)


class Service:
    def __init__(self, downstream):
        self.downstream = downstream

    async def __call__(self, scope, receive, send):
        """The reply to the main call says whether the side calls went well."""
        if scope["type"] != "http":
            return
        token = echo_service.token_of(scope)
        fine = all(await asyncio.gather(self.downstream.risk(token),
                                        self.downstream.experiment(token)))
        scope["path"] = scope["path"] if fine else "/status/500"
        await echo_service.app(scope, receive, send)


async def main():
    config = Config()
    config.bind = ["127.0.0.1:" + sys.argv[1]]
    config.keep_alive_timeout = 600
    config.errorlog = "-"
    await hypercorn.asyncio.serve(Service(Downstream(*sys.argv[2:5])), config)


if __name__ == "__main__":
    asyncio.run(main())
