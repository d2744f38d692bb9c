# SPDX-License-Identifier: Apache-2.0
"""Allocations that fail in a program, told when by a file in memory that it shares (nomem.c)."""

import mmap
import os
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
CONTROL = struct.Struct("<7Q")  # struct control of nomem.c


def build(directory):
    """The path of the library, made in this directory."""
    path = os.path.join(directory, "nomem.so")
    if not os.path.exists(path):
        subprocess.run([os.environ.get("CC", "cc"), "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-g", "-fPIC",
                        "-shared", "-fno-builtin", "-Wall", "-Wextra", "-Werror", "-o", path,
                        os.path.join(HERE, "nomem.c")], check=True)
    return path


class NoMemory:
    """env: what a process needs in its environment to be under it."""

    def __init__(self, directory, name="nomem", **when):
        path = os.path.join(directory, name)
        self.file = open(path, "w+b")
        self.file.truncate(CONTROL.size)
        self.map = mmap.mmap(self.file.fileno(), CONTROL.size)
        self.env = {"LD_PRELOAD": build(directory), "NOMEM": path}
        self.set(**when)

    def set(self, seed=1, every=0, after=0, first=0, count=1):
        """One in `every` once there were so many; or those that begin with the first-th. Starts to count again."""
        self.map[:] = CONTROL.pack(seed, every, after, first, count, 0, 0)

    def counts(self):
        """(asked for, failed)"""
        return CONTROL.unpack(self.map[:])[5:]

    def close(self):
        self.map.close()
        self.file.close()
