# SPDX-License-Identifier: Apache-2.0
"""h2c with prior knowledge through Envoy, HAProxy, nginx and nghttpx: on both hops, or HTTP/1 on one of them."""

from kit import chain, envoy
from kit.build import need

QUICK = True
FRONT, MIDDLE, SERVICE = 15080, 15081, chain.SERVICE


def missing():
    return need("haproxy", "nginx", "nghttpx")


def build(cache):
    chain.python(cache)
    envoy.path(cache)


def haproxy_then_envoy(world):
    """Two proxies, one connection of each for all clients."""
    envoy.start(world, MIDDLE, SERVICE, http2=True)
    chain.haproxy(world, FRONT, MIDDLE, options="proto h2", listen="proto h2")


def proxy_protocol(version):
    """A PROXY header before the h2 preface, on the hop between the two."""
    def start(world):
        chain.nghttpx(world, MIDDLE, SERVICE, ";proxyproto", ";;proto=h2")
        chain.haproxy(world, FRONT, MIDDLE, options="proto h2 send-proxy%s" % version,
                      listen="proto h2")
    return start


def scenarios():
    def one(name, proxy, protocol="http2", golden=False, **how):
        return chain.scenario(name, proxy, [FRONT] if proxy else [], protocol, golden=golden, **how)

    def two(name, proxy, *options, **how):
        return chain.scenario(name, proxy, [FRONT, MIDDLE], "http2",
                              between=["127.0.0.1:%d=http2" % MIDDLE, *options], **how)

    return [
        one("direct", None, golden=True),
        one("envoy", lambda w: envoy.start(w, FRONT, SERVICE, http2=True), golden=True),
        one("envoy_h2_h1", lambda w: envoy.start(w, FRONT, SERVICE), quick=False),
        one("envoy_h1_h2", lambda w: envoy.start(w, FRONT, SERVICE, http2=True), "http1", quick=False),
        one("haproxy", lambda w: chain.haproxy(w, FRONT, SERVICE, "proto h2", "proto h2"),
            golden=True),
        one("nghttpx", lambda w: chain.nghttpx(w, FRONT, SERVICE, "", ";;proto=h2"), golden=True),
        one("nginx", lambda w: chain.nginx(w, FRONT, SERVICE, "http2"), golden=True),
        two("haproxy_envoy", haproxy_then_envoy, golden=False, quick=False),
        # HAProxy 2.6 refuses or forgets some of several streams at once where it sends PROXY to h2.
        two("proxy_v1", proxy_protocol(""), "--sequential", golden=False,
            quick=False),
        two("proxy_v2", proxy_protocol("-v2"), "--sequential", golden=True),
    ]
