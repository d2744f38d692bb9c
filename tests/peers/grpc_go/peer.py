# SPDX-License-Identifier: Apache-2.0
"""gRPC by grpc-go: interleaved calls, streams, errors with details, large header blocks, GOAWAY; and through Envoy."""

import os

from kit import envoy
from kit.build import go, need
from kit.peer import Scenario

QUICK = False
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "app")
SERVICE, PROXY = 50052, 15052


def late(*arguments, **more):
    return Scenario(*arguments, share=SHARE, **more)


def missing():
    return need("go")


def build(cache):
    go(cache, SOURCE, "echo")
    envoy.path(cache)


def server(*options):
    def run(world):
        world.start("server", [world.cache + "/echo", "server", SERVICE, *options], port=SERVICE)
    return run


def server_and_envoy(world):
    server()(world)
    envoy.start(world, PROXY, SERVICE, http2=True)


def client(port, kinds):
    def run(world):
        return world.client("client", [world.cache + "/echo", "client", port, kinds])
    return run


# Calls that were under way at the attach, many at once, are there in part.
SHARE = 0.6


def scenarios():
    return [
        late("unary", [SERVICE], server(), client(SERVICE, "unary")),
        late("streams", [SERVICE], server(), client(SERVICE, "streams")),
        late("errors", [SERVICE], server(), client(SERVICE, "errors")),
        late("cut", [SERVICE], server(), client(SERVICE, "cut")),
        late("headers", [SERVICE], server(), client(SERVICE, "headers"), golden=False),
        late("large", [SERVICE], server(), client(SERVICE, "large"), golden=False, parts=True),
        late("long_stream", [SERVICE], server(), client(SERVICE, "long"), golden=False, parts=True,
             modes=("live",)),
        late("goaway", [SERVICE], server("--age"), client(SERVICE, "unary,streams"), modes=("live",),
             rounds=8, golden=False),
        late("envoy", [SERVICE, PROXY], server_and_envoy, client(PROXY, "unary,streams,errors"),
             golden=False),
    ]
