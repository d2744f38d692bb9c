# SPDX-License-Identifier: Apache-2.0
"""kcat, protoc, the mock cluster and the real broker."""

import os
import re
import shutil
import signal
import struct
import subprocess

from . import net, proxies
from .capture import Failure, Skip

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
BROKER = os.path.join(TOP, "tests", "kafka", "broker.sh")


def broker_sh(*args, version=None):
    env = {**os.environ, **({"KAFKA_VERSION": version} if version else {})}
    r = subprocess.run([BROKER, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                       check=False, env=env)
    if r.returncode == 77:
        raise Skip("the broker of the tests cannot run here")
    if r.returncode:
        raise RuntimeError("broker.sh %s failed" % args[0])
    return r.stdout.strip()


def start_broker(directory, port):
    """HOST:PORT of a real Kafka broker in this namespace."""
    if not shutil.which("mvn") and not os.path.isdir(os.path.join(TOP, "build/cache/kafka")):
        raise Skip("Maven is not installed")
    broker_sh("start", directory, str(port))
    return "127.0.0.1:%d" % port


def topic_tool(bootstrap, *args):
    tools = broker_sh("tools")
    r = subprocess.run([os.path.join(tools, "topic"), bootstrap, *args],
                       check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode:
        raise RuntimeError(r.stdout)


def create_topics(bootstrap, partitions, *names, replicas=1, config=()):
    """config: "max.message.bytes=5000" and the like."""
    options = ["-r", str(replicas)] + [x for c in config for x in ("-c", c)]
    topic_tool(bootstrap, str(partitions), *options, *names)


def delete_topics(bootstrap, *names):
    topic_tool(bootstrap, "delete", *names)


class Broker:
    """A real broker, or with mode "cluster" three, or with "secure" one with TLS and SASL too; and what befalls it.
    version: None is that of broker.sh."""

    def __init__(self, directory, port=9392, mode="start", version=None):
        self.directory, self.port, self.mode, self.version = directory, port, mode, version
        self.start()

    def start(self):
        if not shutil.which("mvn") and not os.path.isdir(os.path.join(TOP,
                                                                      "build/cache/kafka")):
            raise Skip("Maven is not installed")
        broker_sh(self.mode, self.directory, str(self.port), version=self.version)

    @property
    def bootstrap(self):
        ports = range(self.port, self.port + (6 if self.mode == "cluster" else 2), 2)
        return ",".join("127.0.0.1:%d" % p for p in ports)

    def path(self, name):
        return os.path.join(self.directory, name)

    def pid(self, node=None):
        with open(os.path.join(self.directory, str(node) if node else "", "pid"),
                  encoding="utf-8") as f:
            return int(f.read())

    def signal(self, sig, node=None):
        os.kill(self.pid(node), sig)

    def kill(self, node=None):
        """kill -9; returns when it is gone."""
        pid = self.pid(node)
        os.kill(pid, signal.SIGKILL)
        net.wait_until("the broker's end", lambda: not alive(pid), 10)

    def restart(self, node=None):
        if node:
            broker_sh("node", self.directory, str(self.port), str(node), version=self.version)
        else:
            self.start()

    def stop(self):
        broker_sh("stop", self.directory)

    def codecs(self, topic):
        """Of the batches of a topic's first segments: bits 0-2 of the attributes (4: zstd)."""
        out = set()
        for name in os.listdir(self.path("data")):
            if re.fullmatch(re.escape(topic) + r"-\d+", name):
                out |= segment_codecs(os.path.join(self.path("data"), name,
                                                   "00000000000000000000.log"))
        return out


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def segment_codecs(path):
    """RecordBatch of Kafka's protocol guide: baseOffset 8, batchLength 4, ..., attributes at 21."""
    out = set()
    with open(path, "rb") as f:
        while len(head := f.read(23)) == 23:
            length = struct.unpack(">i", head[8:12])[0]
            out.add(head[22] & 7)
            f.seek(length + 12 - 23, os.SEEK_CUR)
    return out


class Mock:
    """librdkafka's mock cluster in a process of its own."""

    def __init__(self, *topics):
        tools = broker_sh("tools")
        self.proc = subprocess.Popen([os.path.join(tools, "mock"), *topics], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True,
                                     preexec_fn=net.die_with_parent)
        self.bootstrap = self.proc.stdout.readline().strip()

    def close(self):
        self.proc.stdin.close()
        self.proc.wait(10)


class Message:
    def __init__(self, partition, offset, timestamp, key, headers, value):
        self.partition, self.offset, self.timestamp = partition, offset, timestamp
        self.key, self.headers, self.value = key, headers, value


FORMAT = "%p %o %T\n%k\n%h\n%R%s"


def parse_messages(data):
    out, at = [], 0
    while at < len(data):
        lines = []
        for _ in range(3):
            end = data.index(b"\n", at)
            lines.append(data[at:end].decode())
            at = end + 1
        size = struct.unpack(">i", data[at:at + 4])[0]
        at += 4
        p, o, ts = (int(v) for v in lines[0].split())
        headers = dict(h.split("=", 1) for h in lines[2].split(",") if "=" in h)
        out.append(Message(p, o, ts, lines[1], headers, data[at:at + max(size, 0)]))
        at += max(size, 0)
    return out


def consume(bootstrap, topic):
    """All messages that are in the topic now, by kcat."""
    kcat = proxies.need("kcat")
    r = subprocess.run([kcat, "-C", "-q", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e",
                        "-f", FORMAT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                       timeout=30)
    if r.returncode:
        raise Failure("kcat: %s" % r.stderr.decode(errors="replace")[-200:])
    return parse_messages(r.stdout)


class Follower:
    """kcat that follows a topic into a file until it is stopped."""

    def __init__(self, bootstrap, topic, path):
        self.file = open(path, "wb")
        self.path = path
        self.proc = subprocess.Popen([proxies.need("kcat"), "-C", "-q", "-u", "-b", bootstrap, "-t",
                                      topic, "-o", "beginning", "-f", FORMAT], stdout=self.file,
                                     stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                     preexec_fn=net.die_with_parent)

    def messages(self):
        with open(self.path, "rb") as f:
            data = f.read()
        try:
            return parse_messages(data)
        except (ValueError, struct.error):
            return []

    def stop(self):
        self.proc.kill()
        self.proc.wait()
        return self.messages()


def protoc_text(message, data):
    """What protoc makes of a record, by the .proto alone: its text form."""
    protoc = proxies.need("protoc")
    r = subprocess.run([protoc, "--decode=sidetap.v1." + message, "-I", os.path.join(TOP, "sink"),
                        os.path.join(TOP, "sink", "record.proto")], input=data,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if r.returncode:
        raise Failure("protoc --decode: " + r.stderr.decode(errors="replace")[-200:])
    return r.stdout.decode("latin-1")


def top_field(text, name):
    """The first value of a field that stands outside any message of protoc's text form."""
    for line in text.splitlines():
        if line.startswith(name + ": "):
            return line[len(name) + 2:].strip('"')
    return None
