# SPDX-License-Identifier: Apache-2.0
"""What the builds of peers share. All of it is kept in the cache between runs; none of it in git."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

from .capture import Skip


def need(*programs):
    """None, or which program is not installed."""
    for p in programs:
        if not shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return p + " is not installed"
    return None


def run(argv, cwd=None, env=None, log=None, what=None):
    """One step of a build; Skip with the end of its output when it fails (a registry that is away)."""
    print("building: %s" % (what or " ".join(argv)), file=sys.stderr, flush=True)
    r = subprocess.run(argv, cwd=cwd, env={**os.environ, **(env or {})}, text=True, check=False,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       errors="replace")
    if log:
        with open(log, "w", encoding="utf-8") as f:
            f.write(r.stdout)
    if r.returncode:
        raise Skip("%s failed: %s" % (what or argv[0], " ".join(r.stdout.split())[-200:]))
    return r.stdout


def stamp_of(*inputs):
    """A digest of strings and of the files and folders named by absolute paths."""
    h = hashlib.sha256()
    for x in inputs:
        h.update(x.encode() + b"\0")
        for directory, _, files in sorted(os.walk(x)) if os.path.isabs(x) and os.path.isdir(x) else []:
            for name in sorted(files):
                h.update(name.encode() + open(os.path.join(directory, name), "rb").read())
        if os.path.isabs(x) and os.path.isfile(x):
            h.update(open(x, "rb").read())
    return h.hexdigest()


def once(directory, stamp, function):
    """function() unless it ended well before with the same stamp; safe beside another run."""
    os.makedirs(directory, exist_ok=True)
    done = os.path.join(directory, ".done")
    with open(os.path.join(directory, ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(done) and open(done, encoding="utf-8").read() == stamp:
            return
        function()
        with open(done, "w", encoding="utf-8") as f:
            f.write(stamp)


def venv(cache, name, *packages):
    """
    A Python environment with these packages, shared by the peers that name it alike: its bin directory.
    cache: the peer's own.
    """
    directory = os.path.join(os.path.dirname(cache), "venv-" + name)

    def make():
        for part in ("bin", "lib"):
            shutil.rmtree(os.path.join(directory, part), ignore_errors=True)
        run(["/usr/bin/python3", "-m", "venv", directory], what="venv " + name)
        run([os.path.join(directory, "bin", "pip"), "install", "-q", "--disable-pip-version-check",
             *packages], what="pip install " + " ".join(packages))

    once(directory, stamp_of("in " + directory, *packages), make)  # its scripts name their place
    return os.path.join(directory, "bin")


def go(cache, source, output, *packages, env=None):
    """go build of a module's folder (copied, so that nothing is made in the source tree)."""
    binary = os.path.join(cache, output)

    def make():
        work = os.path.join(cache, "src-" + output)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(source, work)
        run(["nice", "-n", "5", "go", "build", "-p", "1", "-o", binary, *(packages or ["."])], cwd=work,
            env={"GOFLAGS": "-mod=mod", **(env or {})}, what="go build " + output)

    once(os.path.join(cache, "stamp-" + output), stamp_of(source), make)
    return binary
