# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on both sides of Envoy, HAProxy, nginx and nghttpx, with an HTTP framework behind."""

from kit import chain, envoy
from kit.build import need

QUICK = True


def missing():
    return need("haproxy", "nginx", "nghttpx")


def build(cache):
    chain.python(cache)
    envoy.path(cache)


def scenarios():
    return [
        chain.scenario("direct", None, [], "http1"),
        chain.scenario("envoy", lambda w: envoy.start(w, 15080, 9080), [15080], "http1"),
        chain.scenario("haproxy", lambda w: chain.haproxy(w, 15080, 9080), [15080], "http1"),
        chain.scenario("nginx", lambda w: chain.nginx(w, 15080, 9080), [15080], "http1"),
        chain.scenario("nghttpx", lambda w: chain.nghttpx(w, 15080, 9080), [15080], "http1"),
    ]
