# SPDX-License-Identifier: Apache-2.0
"""Apache Dubbo (Java) on both sides: dubbo2 in hessian2 and in fastjson2 with heartbeats, triple with streams."""

import glob
import os
import shutil

from kit import build as steps
from kit.peer import Scenario

QUICK = False
HERE = os.path.dirname(os.path.abspath(__file__))
POM = os.path.join(HERE, "pom.xml")
PORT = 9300  # dubbo2; triple on the next
JAVA = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-Djava.net.preferIPv4Stack=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
        "-Ddubbo.application.logger=slf4j"]


def missing():
    return steps.need("java", "javac", "mvn")


def jars(lib):
    shutil.rmtree(lib, ignore_errors=True)
    steps.run(["nice", "-n", "5", "mvn", "-q", "-B", "-f", POM, "dependency:copy-dependencies",
               "-DoutputDirectory=" + lib], what="Dubbo's jars")


def compile_sides(cache, lib):
    for side in ("server", "client"):
        shutil.rmtree(os.path.join(cache, side), ignore_errors=True)
    for side in ("server", "client"):
        sources = [f for d in ("common", side) for f in glob.glob(os.path.join(HERE, "src", d, "*", "*"))]
        steps.run(["javac", "-parameters", "-cp", lib + "/*", "-d", os.path.join(cache, side), *sources],
                  what="Dubbo %s" % side)


def build(cache):
    lib, source = os.path.join(cache, "lib"), os.path.join(HERE, "src")
    steps.once(os.path.join(cache, "stamp-lib"), steps.stamp_of(POM), lambda: jars(lib))
    steps.once(os.path.join(cache, "stamp"), steps.stamp_of(POM, source),
               lambda: compile_sides(cache, lib))


def java(world, side, *args):
    return JAVA + ["-cp", "%s/%s:%s/lib/*" % (world.cache, side.lower(), world.cache), "demo." + side,
                   *args]


def scenario(name, protocol, serialization, port):
    def start(world):
        # The server says when every service is exported: the ports open earlier.
        world.start("server", java(world, "Server", PORT, serialization), seconds=60,
                    ready=lambda: "ready" in open(world.path("server.out"), encoding="utf-8").read())

    def client(world):
        return world.client("client", java(world, "Client", protocol, serialization, port), seconds=60)

    # One connection: of the first round after the attach the requests come before the first turn.
    return Scenario(name, [port], start, client, timeout=240, share=0.4)


def scenarios():
    return [scenario("hessian2", "dubbo2", "hessian2", PORT),
            scenario("fastjson2", "dubbo2", "fastjson2", PORT),
            scenario("triple", "triple", "hessian2", PORT + 1)]
