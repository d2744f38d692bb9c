# SPDX-License-Identifier: Apache-2.0
"""
HTTP/2 as h2load, nghttp and curl speak it: interleaved streams, padding, CONTINUATION, small header tables,
and the upgrade from HTTP/1.1, taken by the one and refused by the other.
"""

from kit import chain, envoy
from kit.build import need

QUICK = True
FRONT, SERVICE = 15080, chain.SERVICE
# Each round dials anew: a late attach finds no old connection but those behind the proxy.
MODES = ("live", "mid")


def missing():
    return need("haproxy", "nginx", "nghttpx", "h2load", "nghttp", "curl")


def build(cache):
    chain.python(cache)
    envoy.path(cache)


def nghttpx(world):
    chain.nghttpx(world, FRONT, SERVICE, "", ";;proto=h2")


def scenarios():
    def tool(name, scheme, proxy, protocol="http2", golden=False, quick=True):
        return chain.scenario(name, proxy, [FRONT] if proxy else [], protocol, [scheme],
                              "http_tools.py", golden=golden, modes=MODES, quick=quick)

    return [
        tool("h2load_envoy", "h2load", lambda w: envoy.start(w, FRONT, SERVICE, http2=True),
             quick=False),
        tool("h2load_nghttpx", "h2load_post", nghttpx, golden=True),
        tool("padding", "nghttp", None, golden=True),
        tool("small_table", "nghttp_small_table", nghttpx, golden=True),
        tool("upgrade", "nghttp_upgrade", None, golden=True),
        tool("upgrade_nghttpx", "curl_upgrade", nghttpx, golden=True),
        tool("upgrade_refused_envoy", "curl_upgrade",
             lambda w: envoy.start(w, FRONT, SERVICE, http2=True), "http1"),
        tool("upgrade_refused_nginx", "curl_upgrade", lambda w: chain.nginx(w, FRONT, SERVICE),
             "http1", quick=False),
        tool("many_connections", "curl_parallel",
             lambda w: chain.haproxy(w, FRONT, SERVICE, "proto h2", "proto h2"), quick=False),
    ]
