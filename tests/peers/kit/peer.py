# SPDX-License-Identifier: Apache-2.0
"""A peer: the folder tests/peers/NAME with its peer.py. The contract: tests/peers/README.md."""

import importlib.util
import os
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Scenario:
    """
    name     letters, digits and _
    ports    those that sidetap watches
    start    start(world): servers and proxies, each ready when it returns
    client   client(world): a running Client (world.client)
    extra    extra(record): why this record needs no line of the log, or None: it needs one
    modes    of live, late, mid
    rounds   of the client in live mode
    share    the least part of the calls after a late attach that must be there: right, or unknown as they say
    golden   a capture of its live run is kept in tests/golden (run.py --golden)
    parts    calls may leave in parts
    timeout  seconds, for all modes together
    quick    False: of a quick peer, but only in make test-all
    """

    def __init__(self, name, ports, start, client, extra=None, modes=("live", "late", "mid"),
                 rounds=1, share=0.8, golden=True, parts=False, timeout=120,
                 quick=True):
        self.name, self.ports, self.start, self.client = name, list(ports), start, client
        self.extra = extra or (lambda record: None)
        self.modes, self.rounds, self.share = tuple(modes), rounds, share
        self.golden, self.parts, self.timeout = golden, parts, timeout
        self.quick = quick


def names():
    return sorted(d for d in os.listdir(TOP)
                  if d != "kit" and os.path.exists(os.path.join(TOP, d, "peer.py")))


def load(name):
    """The module of a peer, with what it may leave out filled in."""
    key = "peer_" + name
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, os.path.join(TOP, name, "peer.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for attribute, default in (("QUICK", False), ("missing", lambda: None),
                               ("build", lambda cache: None)):
        if not hasattr(module, attribute):
            setattr(module, attribute, default)
    sys.modules[key] = module  # whole: other threads find it there
    return module


def scenario(peer, name):
    for s in load(peer).scenarios():
        if s.name == name:
            return s
    raise KeyError("peer %s has no scenario %s" % (peer, name))
