# SPDX-License-Identifier: Apache-2.0
"""Apache Thrift's Python library: every protocol by every transport, multiplexed, pipelined; ids are always 0."""

import os
import shutil

from kit import build as steps
from kit.peer import Scenario

QUICK = True
HERE = os.path.dirname(os.path.abspath(__file__))
IDL = os.path.join(HERE, "shop.thrift")
PORT = 9190
# name: client's protocol, server's, transport, server, multiplexed
NAMES = {
    "strict_framed": ("strict", "strict", "framed", "threaded", False),
    "strict_buffered": ("strict", "strict", "buffered", "threaded", False),
    "old_framed": ("old", "old", "framed", "threaded", False),
    "old_buffered": ("old", "old", "buffered", "threaded", False),
    "compact_framed": ("compact", "compact", "framed", "threaded", False),
    "compact_buffered": ("compact", "compact", "buffered", "threaded", False),
    "old_asks_strict": ("old", "strict", "framed", "threaded", True),
    "strict_multiplexed": ("strict", "strict", "buffered", "threaded", True),
    "old_multiplexed": ("old", "old", "framed", "threaded", True),
    "compact_multiplexed": ("compact", "compact", "buffered", "threaded", True),
    "strict_socket": ("strict", "strict", "socket", "threaded", False),
    "compact_socket": ("compact", "compact", "socket", "threaded", False),
    "nonblocking": ("strict", "strict", "framed", "nonblocking", False),
}


def missing():
    return steps.need("python3", "thrift")


def python(cache):
    return os.path.join(steps.venv(cache, "thrift", "thrift==0.25.0"), "python")


def generated(cache):
    return os.path.join(cache, "gen")


def build(cache):
    def make():
        shutil.rmtree(generated(cache), ignore_errors=True)
        os.mkdir(generated(cache))
        steps.run(["thrift", "--gen", "py", "-out", generated(cache), IDL])

    python(cache)
    steps.once(os.path.join(cache, "stamp"), steps.stamp_of(IDL), make)


def command(world, script, *arguments, multiplexed):
    return [python(world.cache), os.path.join(HERE, script), generated(world.cache), PORT, *arguments,
            *(["multiplexed"] if multiplexed else [])]


def scenario(name, client, server, transport, kind, multiplexed):
    def start(world):
        world.start("server", command(world, "server.py", server, transport, kind, multiplexed=multiplexed),
                    port=PORT)

    def run(world):
        return world.client("client", command(world, "client.py", client, transport, multiplexed=multiplexed))

    # on the wire it is strict_framed again
    return Scenario(name, [PORT], start, run, golden=kind == "threaded" and transport != "socket")


def scenarios():
    return [scenario(name, *how) for name, how in NAMES.items()]
