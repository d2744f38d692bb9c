# SPDX-License-Identifier: Apache-2.0
"""
daprd beside a caller and beside a service, by HTTP and by gRPC: invocation over both daprds, state, events.
Its build takes 8 minutes and 4 GB of Go's caches; names are resolved by sqlite, without multicast.
"""

import os

from kit import build as steps
from kit.peer import Scenario

QUICK = False
HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ("grpcio==1.85.1",)  # the environment of grpc_python
APP, FRONT, FRONT_INTERNAL, SHOP, INTERNAL = 9501, 9502, 9504, 9512, 9514
CONFIG = """apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: peers
spec:
  nameResolution:
    component: sqlite
    version: v1
    configuration:
      connectionString: %s
"""


def missing():
    return steps.need("go", "python3", "unshare", "hostname")


def python(cache):
    return os.path.join(steps.venv(cache, "grpc", *PACKAGES), "python")


def build(cache):
    python(cache)
    steps.go(cache, os.path.join(HERE, "daprd"), "daprd", "-tags", "stablecomponents", ".")


# daprd forwards its host's name: one of its own, not this machine's
AS_HOST = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"']


def daprd(world, name, http, grpc, internal, *more):
    out = name + ".out"
    world.start(name, AS_HOST + [
        name, world.cache + "/daprd", "--mode", "standalone", "--app-id", name, "--dapr-http-port", http,
        "--dapr-grpc-port", grpc, "--dapr-internal-grpc-port", internal,
        "--dapr-listen-addresses", "127.0.0.1", "--dapr-internal-grpc-listen-address", "127.0.0.1",
        "--enable-metrics=false", "--resources-path", os.path.join(HERE, "resources"),
        "--config", world.path("config.yaml"), *more], seconds=60, env={"DAPR_HOST_IP": "127.0.0.1"},
        ready=lambda: "dapr initialized" in open(world.path(out), encoding="utf-8").read())


def start(api):
    def run(world):
        with open(world.path("config.yaml"), "w", encoding="utf-8") as f:
            f.write(CONFIG % world.path("names.db"))
        world.start("app", [python(world.cache), os.path.join(HERE, "shop_%s.py" % api), APP], port=APP)
        http, grpc = (0, 1) if api == "http" else (1, 0)
        daprd(world, "shop", SHOP + http, SHOP + grpc, INTERNAL, "--app-port", APP,
              "--app-protocol", api)
        daprd(world, "front", FRONT + http, FRONT + grpc, FRONT_INTERNAL)
    return run


def client(api):
    return lambda world: world.client("client", [
        python(world.cache), os.path.join(HERE, "front.py"), api, FRONT, SHOP, INTERNAL, APP])


def extra(record):
    """
    daprd asks its application what it wants to have, and first whether its port is open: it closes at once what
    it opened, and a gRPC server's first frame goes to nobody.
    """
    names = ("/dapr/config", "/dapr/subscribe", "ListTopicSubscriptions", "ListInputBindings")
    if record.get("server", "").endswith(":%d" % APP) and record.get("path", "").endswith(names):
        return "daprd's own question"
    if record["protocol"] == "opaque" and "request" not in record and record["call_type"] == "stream":
        return "daprd's look at the port"
    return None


def scenarios():
    # Header blocks of gRPC between the two: what was inserted before the attach stays unknown (docs/protocols.md)
    return [Scenario(api, [APP, FRONT, SHOP, INTERNAL], start(api), client(api), extra=extra, share=0.2,
                     timeout=240) for api in ("http", "grpc")]
