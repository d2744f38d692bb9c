# SPDX-License-Identifier: Apache-2.0
"""gRPC by grpcio (the C core): every kind of call, direct and through Envoy."""

import os

from kit import envoy
from kit.build import need, venv
from kit.peer import Scenario

QUICK = True
HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ("grpcio==1.85.1",)
SERVICE, PROXY = 50051, 15051


def missing():
    return need("python3")


def python(cache):
    return os.path.join(venv(cache, "grpc", *PACKAGES), "python")


def build(cache):
    python(cache)
    envoy.path(cache)


def server(world):
    world.start("server", [python(world.cache), os.path.join(HERE, "server.py"), SERVICE], port=SERVICE)


def server_and_envoy(world):
    server(world)
    envoy.start(world, PROXY, SERVICE, http2=True)


def client(port, kinds):
    def run(world):
        return world.client("client", [python(world.cache), os.path.join(HERE, "client.py"), port, kinds])
    return run


def scenarios():
    return [
        Scenario("unary", [SERVICE], server, client(SERVICE, "unary")),
        Scenario("streams", [SERVICE], server, client(SERVICE, "streams")),
        Scenario("errors", [SERVICE], server, client(SERVICE, "errors")),
        Scenario("cut", [SERVICE], server, client(SERVICE, "cut")),
        Scenario("large", [SERVICE], server, client(SERVICE, "large"), golden=False, parts=True,
                 quick=False),
        Scenario("envoy", [SERVICE, PROXY], server_and_envoy, client(PROXY, "unary,streams,errors")),
        Scenario("envoy_cut", [SERVICE, PROXY], server_and_envoy, client(PROXY, "cut"), golden=False),
    ]
