# SPDX-License-Identifier: Apache-2.0
"""Apache Thrift's Go library: ids that count, several connections at once, the length in a segment of its own."""

import glob
import os
import shutil

from kit import build as steps
from kit.peer import Scenario

QUICK = False
HERE = os.path.dirname(os.path.abspath(__file__))
IDL = os.path.join(os.path.dirname(HERE), "thrift_python", "shop.thrift")
PORT = 9195
NAMES = {"%s_%s" % (protocol, transport): (protocol, transport)
         for protocol in ("strict", "old", "compact") for transport in ("framed", "buffered")}
NAMES["compact_multiplexed"] = ("compact", "framed", "multiplexed")
NAMES["strict_multiplexed"] = ("strict", "buffered", "multiplexed")
GOLDEN = ("strict_buffered", "compact_multiplexed", "old_framed")


def missing():
    return steps.need("go", "thrift")


def make(cache):
    work = os.path.join(cache, "src")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    for name in glob.glob(os.path.join(HERE, "*.go")) + [os.path.join(HERE, "go.mod")]:
        shutil.copy(name, work)
    steps.run(["thrift", "--gen", "go:package_prefix=demo/shop/gen-go/", "-o", work, IDL])
    for name in glob.glob(os.path.join(work, "gen-go", "*", "*-remote")):
        shutil.rmtree(name)
    steps.run(["nice", "-n", "5", "go", "build", "-p", "1", "-o", os.path.join(cache, "shop"), "."], work,
              {"GOFLAGS": "-mod=mod"}, what="go build shop")


def build(cache):
    inputs = sorted(glob.glob(os.path.join(HERE, "*.go"))) + [os.path.join(HERE, "go.mod"), IDL]
    steps.once(os.path.join(cache, "stamp"), steps.stamp_of(*inputs), lambda: make(cache))


def scenario(name, *how):
    def start(world):
        world.start("server", [world.cache + "/shop", "server", PORT, *how], port=PORT)

    def client(world):
        return world.client("client", [world.cache + "/shop", "client", PORT, *how])

    return Scenario(name, [PORT], start, client, golden=name in GOLDEN)


def scenarios():
    return [scenario(name, *how) for name, how in NAMES.items()]
