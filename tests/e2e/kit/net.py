# SPDX-License-Identifier: Apache-2.0
"""Cgroups, child processes and network namespaces of one test."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
CLONE_NEWNET = 0x40000000


def cgroup2_mount():
    """Where cgroup v2 is mounted: pure or hybrid (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            left, _, right = line.partition(" - ")
            if right.split()[0] == "cgroup2" and left.split()[3] == "/":
                return left.split()[4]
    return None


def controller_mount(name):
    """Where the controller of cgroup v1 is mounted; None: it is not."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            left, _, right = line.partition(" - ")
            if right.split()[0] == "cgroup" and name in right.split()[2].split(","):
                return left.split()[4]
    return None


def own_cgroup():
    with open("/proc/self/cgroup", encoding="utf-8") as f:
        for line in f:
            if line.startswith("0::"):
                return line[3:].strip()
    return "/"


def enter_cgroup(directory, pid=0):
    write(os.path.join(directory, "cgroup.procs"), pid)


def remove_cgroups(top):
    """Deepest first; a group is busy for some ms after its last process died."""
    for directory, _, _ in os.walk(top, topdown=False):
        for _ in range(200):
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)


def write(path, value):
    with open(path, "w", encoding="utf-8") as f:
        f.write(str(value))


def run(*argv, check=True):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       check=False)
    if check and r.returncode:
        raise RuntimeError("%s: %s" % (" ".join(argv), r.stdout.strip()))
    return r.stdout


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def set_name(name):
    LIBC.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def wait_until(what, condition, seconds=10.0, step=0.01):
    """Polls; the value of the condition once it is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError("not within %g s: %s" % (seconds, what))
        time.sleep(step)


class Child:
    """A forked child that runs a Python function."""

    def __init__(self, pid, name):
        self.pid, self.name, self.status = pid, name, None

    def wait(self):
        if self.status is None:
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def kill(self, sig=signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, sig)


def fork(name, function, cgroup=None, netns=None, wait_ready=False):
    """
    function(ready_fd) in a child with this comm, in this cgroup and named network namespace; with
    wait_ready it returns when the child has written one byte to ready_fd.
    """
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(r)
            die_with_parent()
            set_name(name)
            if cgroup:
                enter_cgroup(cgroup)
            if netns:
                enter_netns(netns)
            function(w)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(w)
    if wait_ready and os.read(r, 1) != b"1":
        raise RuntimeError("%s did not start" % name)
    os.close(r)
    return Child(pid, name)


def enter_netns(name):
    fd = os.open("/run/netns/" + name, os.O_RDONLY)
    if LIBC.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns " + name)
    os.close(fd)


def veth_pair(peer="peer"):
    """10.9.0.1 here, 10.9.0.2 in a second namespace of the name `peer`."""
    os.makedirs("/run/netns", exist_ok=True)
    run("mount", "-t", "tmpfs", "none", "/run/netns")  # in the test's own mount namespace
    run("ip", "netns", "add", peer)
    run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", peer)
    run("ip", "addr", "add", "10.9.0.1/24", "dev", "v0")
    run("ip", "link", "set", "v0", "up")
    run("ip", "-n", peer, "addr", "add", "10.9.0.2/24", "dev", "v1")
    run("ip", "-n", peer, "link", "set", "v1", "up")
    run("ip", "-n", peer, "link", "set", "lo", "up")


def program_ids(pid):
    """Ids of BPF programs and links that a process holds, from its file descriptors."""
    out = {"prog": set(), "link": set()}
    for fd in os.listdir("/proc/%d/fdinfo" % pid):
        try:
            with open("/proc/%d/fdinfo/%s" % (pid, fd), encoding="utf-8") as f:
                for line in f:
                    key, _, value = line.partition(":")
                    if key in ("prog_id", "link_id"):
                        out[key[:4]].add(int(value))
        except FileNotFoundError:
            continue
    return out


def ids_that_exist(kind, ids):
    """Of these BPF ids, those that the kernel still knows."""
    return {i for i in ids
            if subprocess.run(["bpftool", kind, "show", "id", str(i)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0}
