# SPDX-License-Identifier: Apache-2.0
"""bRPC's baidu_std by two implementations in Java: brpc-java and jprotobuf-rpc."""

import glob
import os
import shutil

from kit import build as steps
from kit.peer import Scenario

QUICK = False
HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.path.join(HERE, "src")
POMS = {"brpc": os.path.join(HERE, "pom.xml"), "jprotobuf": os.path.join(HERE, "jprotobuf.xml")}
PROTOC = "com.google.protobuf:protoc:2.5.0:exe:linux-x86_64"
MVN = ["nice", "-n", "5", "mvn", "-q", "-B"]
PORT = 9400
JAVA = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-Djava.net.preferIPv4Stack=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
        "--add-opens", "java.base/java.lang=ALL-UNNAMED",
        "--add-opens", "java.base/java.util=ALL-UNNAMED"]


def missing():
    return steps.need("java", "javac", "mvn")


def jars(cache, which):
    lib = os.path.join(cache, which, "lib")
    shutil.rmtree(lib, ignore_errors=True)
    steps.run(MVN + ["-f", POMS[which], "dependency:copy-dependencies", "-DoutputDirectory=" + lib],
              what="the jars of " + which)
    if which == "brpc":
        steps.run(MVN + ["dependency:copy", "-Dartifact=" + PROTOC,
                         "-DoutputDirectory=" + os.path.join(cache, which)], what="protoc 2.5.0")


def generate(cache, to):
    protoc = glob.glob(os.path.join(cache, "brpc", "protoc-*.exe"))[0]
    os.chmod(protoc, 0o755)
    os.makedirs(to)
    steps.run([protoc, "--java_out=" + to, "-I" + os.path.join(SRC, "brpc"),
               os.path.join(SRC, "brpc", "depot.proto")])


def compile_one(cache, which):
    classes, generated = (os.path.join(cache, which, d) for d in ("classes", "generated"))
    for old in (classes, generated):
        shutil.rmtree(old, ignore_errors=True)
    folders = [os.path.join(SRC, "common"), os.path.join(SRC, which)]
    if which == "brpc":
        generate(cache, generated)
        folders.append(generated)
    sources = [f for d in folders for f in glob.glob(os.path.join(d, "demo", "*.java"))]
    steps.run(["javac", "-nowarn", "-cp", os.path.join(cache, which, "lib", "*"), "-d", classes,
               *sources], what="javac of " + which)


def build(cache):
    for which, pom in POMS.items():
        work = os.path.join(cache, which)
        steps.once(os.path.join(work, "stamp-lib"), steps.stamp_of(pom, PROTOC),
                   lambda which=which: jars(cache, which))
        steps.once(os.path.join(work, "stamp"), steps.stamp_of(pom, SRC),
                   lambda which=which: compile_one(cache, which))


def scenario(name, which, server, client, *args, **more):
    def java(world, *rest):
        work = os.path.join(world.cache, which)
        return JAVA + ["-cp", "%s/classes:%s/lib/*" % (work, work), *rest]

    return Scenario(
        name, [PORT],
        lambda world: world.start("server", java(world, "demo." + server, PORT), port=PORT, seconds=60),
        lambda world: world.client("client", java(world, "demo." + client, *args, PORT), seconds=60),
        timeout=240, **more)


# What an old connection carries before its first turn after the attach is not recorded: each pooled
# one loses a call.
def scenarios():
    def brpc(channel, compress):
        return scenario("%s_%s" % (channel, compress), "brpc", "BrpcServer", "BrpcClient",
                        channel.upper(), compress.upper(),
                        share=0.4 if channel == "pooled" else 0.8,
                        golden=channel == "single")

    return [brpc("single", "none"), brpc("pooled", "none"), brpc("single", "gzip"),
            brpc("pooled", "snappy"), brpc("short", "none"),
            scenario("jprotobuf", "jprotobuf", "PojoServer", "PojoClient", share=0.6)]
