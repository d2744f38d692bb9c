# SPDX-License-Identifier: Apache-2.0
"""HTTP servers and clients of other makes: Node (llhttp, nghttp2), Granian (hyper), Uvicorn (httptools); httpx."""

import os

from kit import chain
from kit.build import need, venv
from kit.peer import Scenario
from kit.world import APP

QUICK = True
HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ("granian==2.8.7", "uvicorn==0.54.0", "httptools==0.9.0", *chain.PACKAGES)
PORT = 9080


def missing():
    return need("node")


def build(cache):
    venv(cache, "web", *PACKAGES)
    chain.python(cache)


def node(world, name, *args):
    return ["node", os.path.join(HERE, name), *args]


def python_server(server):
    def start(world):
        program = os.path.join(venv(world.cache, "web", *PACKAGES), "python")
        world.start(server, [program, os.path.join(HERE, "serve.py"), server, PORT], port=PORT,
                    env={"PYTHONPATH": APP + ":" + HERE})
    return start


def tunnel(record):
    """What follows a WebSocket's or a tunnel's head: 11 bytes each way, without a token."""
    sizes = [record.get(side, {}).get("body_bytes") for side in ("request", "response")]
    return "after the switch" if record["protocol"] == "opaque" and sizes == [11, 11] else None


def scenario(name, start, client, **how):
    return Scenario(name, [PORT], start, client, **how)


def scenarios():
    out = []
    for protocol, script in (("http1", "client1.js"), ("http2", "client2.js")):
        def start(world, protocol=protocol):
            world.start("server", node(world, "server.js", str(PORT), protocol), port=PORT)

        def client(world, script=script):
            return world.client("client", node(world, script, str(PORT)))

        out.append(scenario("node_" + protocol, start, client, extra=tunnel))
    out.append(scenario("uvicorn", python_server("uvicorn"), chain.client(PORT, "http1"),
                        golden=False))
    for protocol in ("http1", "http2"):
        out.append(scenario("granian_" + protocol, python_server("granian"), chain.client(PORT, protocol),
                            golden=protocol == "http2"))
    return out
