# SPDX-License-Identifier: Apache-2.0
"""
Kitex on both sides: TTHeader in its forms, mux and streaming; framed and unframed Thrift; Kitex
Protobuf; gRPC. Its code generator is built first, and kitex_gen by it in the cache.
"""

import glob
import os
import shutil

from kit import build as steps
from kit.peer import Scenario

QUICK = False
HERE = os.path.dirname(os.path.abspath(__file__))
GO = ["nice", "-n", "5", "go", "build", "-p", "1", "-o"]
PORT, PORTS = 9200, 5  # main.go: echo, echo for mux, streams, Protobuf, Protobuf streams
NAMES = {"ttheader": 0, "ttheader-framed": 0, "ttheader-bare": 0, "ttheader-short": 0,
         "ttheader-mux": 1, "framed": 0, "unframed": 0, "protobuf": 3, "grpc": 3, "grpc-stream": 4,
         "ttstream": 2, "ttstream-long": 2, "ttstream-short": 2}
# What an old connection carries before its first turn after the attach is not recorded: here it is much.
FEW_CONNECTIONS = {"ttheader-mux": 0.5, "ttstream": 0.4, "ttstream-long": 0.5, "protobuf": 0.6,
                   "grpc": 0.4, "grpc-stream": 0.4}
GOLDEN = {"ttheader", "ttheader-framed", "ttheader-bare", "ttheader-mux", "framed", "unframed",
          "protobuf", "grpc", "ttstream"}


def missing():
    return steps.need("go")


def make(cache):
    work, env = os.path.join(cache, "src"), {"GOFLAGS": "-mod=mod"}
    shutil.rmtree(work, ignore_errors=True)
    os.mkdir(work)
    for name in glob.glob(os.path.join(HERE, "*.go")) + [os.path.join(HERE, "go.mod")]:
        shutil.copy(name, work)
    shutil.copytree(os.path.join(HERE, "idl"), os.path.join(work, "idl"))
    generator = os.path.join(cache, "kitex")
    steps.run(GO + [generator, "github.com/cloudwego/kitex/tool/cmd/kitex"], work, env,
              what="kitex code generator (80 s)")
    generate = [generator, "-streamx", "-module", "demo/peer"]
    for idl in ("stream.thrift", "later.thrift"):
        steps.run(generate + ["idl/" + idl], work, env)
    steps.run(generate + ["-type", "protobuf", "idl/pb.proto"], work, env)
    steps.run(GO + [os.path.join(cache, "peer"), "."], work, env, what="kitex peer (50 s)")


def build(cache):
    inputs = sorted(glob.glob(os.path.join(HERE, "*.go"))) + [
        os.path.join(HERE, "go.mod"), os.path.join(HERE, "idl")]
    steps.once(os.path.join(cache, "stamp"), steps.stamp_of(*inputs), lambda: make(cache))


def start(world):
    ports = list(range(PORT, PORT + PORTS))
    world.start("server", [world.cache + "/peer", "server", PORT], port=ports)


def client(name):
    return lambda world: world.client("client", [world.cache + "/peer", "client", name, PORT])


def scenarios():
    return [Scenario(name.replace("-", "_"), [PORT + at], start, client(name),
                     share=FEW_CONNECTIONS.get(name, 0.8), golden=name in GOLDEN)
            for name, at in NAMES.items()]
