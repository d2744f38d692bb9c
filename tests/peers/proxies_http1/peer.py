# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on both sides of Envoy, HAProxy, nginx and nghttpx, with an HTTP framework behind."""

from kit import chain, envoy
from kit.build import need

QUICK = True
PROXIES = {"envoy": envoy.start, "haproxy": chain.haproxy, "nginx": chain.nginx,
           "nghttpx": chain.nghttpx}


def missing():
    return need("haproxy", "nginx", "nghttpx")


def build(cache):
    chain.python(cache)
    envoy.path(cache)


def scenarios():
    # The first call of each old connection proves the place (docs/record.md): it is not recorded.
    direct = [chain.scenario("direct", None, [], "http1", golden=False)]
    return direct + [
        chain.scenario(name, lambda w, start=start: start(w, 15080, chain.SERVICE), [15080], "http1",
                       golden=name == "envoy", quick=name in ("envoy", "haproxy"))
        for name, start in PROXIES.items()]
