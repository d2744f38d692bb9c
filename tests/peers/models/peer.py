# SPDX-License-Identifier: Apache-2.0
"""
The four sidecar models at once, each call on the right hop:

  main path     client -> gateway (Envoy, 15080) -> service (9080)
  auxiliary     service -> proxy (Envoy, 15001) -> risk sidecar (9301)
  bypass        service -> A/B sidecar, by HTTP (9302) and by gRPC (9303), past the proxy
  independent   sidetap, beside all of them
"""

import os

from kit import build as kit_build
from kit import chain, envoy
from kit.peer import Scenario
from kit.world import APP

QUICK = True
HERE = os.path.dirname(os.path.abspath(__file__))
GATEWAY, SERVICE, EGRESS, RISK, AB_HTTP, AB_GRPC = 15080, 9080, 15001, 9301, 9302, 9303


def python(cache):
    return os.path.join(kit_build.venv(cache, "http-grpc", *chain.PACKAGES, "grpcio==1.85.1"),
                        "python")


def build(cache):
    python(cache)
    envoy.path(cache)


def start(gateway_http2):
    def run(world):
        py = python(world.cache)
        path = {"PYTHONPATH": APP + ":" + HERE}
        for name, port in (("risk", RISK), ("ab-http", AB_HTTP)):
            world.start(name, [py, os.path.join(APP, "echo_service.py"), port], port=port)
        world.start("ab-grpc", [py, os.path.join(HERE, "ab_grpc.py"), AB_GRPC], port=AB_GRPC,
                    env=path)
        world.start("service", [py, os.path.join(HERE, "service.py"), SERVICE, EGRESS, AB_HTTP,
                                AB_GRPC], port=SERVICE, env=path)
        envoy.start(world, GATEWAY, SERVICE, http2=gateway_http2, routes=[(EGRESS, RISK, False)])
    return run


def scenarios():
    def one(name, protocol, http2, **how):
        return Scenario(name, [GATEWAY, SERVICE, EGRESS, RISK, AB_HTTP, AB_GRPC], start(http2),
                        lambda world: world.client("client", [
                            python(world.cache), os.path.join(APP, "http_calls.py"), GATEWAY,
                            protocol, "--short"]), share=0.7, **how)

    return [one("http1", "http1", False), one("http2", "http2", True, golden=False, quick=False)]
