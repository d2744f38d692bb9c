# SPDX-License-Identifier: Apache-2.0
"""gRPC of other makes: grpclib (Python, h2) serves grpcio and grpc-js (Node)."""

import os
import shutil

from kit import build as kit
from kit.build import need
from kit.peer import Scenario
from kit.world import APP

QUICK = True
HERE = os.path.dirname(os.path.abspath(__file__))
GRPCIO = os.path.join(os.path.dirname(HERE), "grpc_python")
PACKAGES = ("grpclib==0.4.9", "grpcio==1.85.1")
PORT = 50053


def missing():
    return need("node", "npm")


def python(cache):
    return os.path.join(kit.venv(cache, "grpclib", *PACKAGES), "python")


def build(cache):
    python(cache)
    package = os.path.join(HERE, "package.json")

    def make():
        directory = os.path.join(cache, "js")
        os.makedirs(directory, exist_ok=True)
        shutil.copy(package, directory)
        kit.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=directory, what="npm install grpc-js")

    kit.once(os.path.join(cache, "stamp-js"), kit.stamp_of(package), make)


def server(world):
    world.start("server", [python(world.cache), os.path.join(HERE, "server.py"), PORT], port=PORT,
                env={"PYTHONPATH": APP + ":" + GRPCIO})


def grpcio(kinds):
    def run(world):
        return world.client("client", [python(world.cache), os.path.join(GRPCIO, "client.py"), PORT, kinds])
    return run


def grpc_js(world):
    return world.client("client", ["node", os.path.join(HERE, "client.js"), PORT])


def scenarios():
    return [
        Scenario("grpc_js", [PORT], server, grpc_js),
        Scenario("grpclib", [PORT], server, grpcio("plain,streams,errors"), golden=False),
        Scenario("grpclib_cut", [PORT], server, grpcio("cut"), golden=False),
    ]
