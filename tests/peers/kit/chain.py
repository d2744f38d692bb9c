# SPDX-License-Identifier: Apache-2.0
"""HTTP client -> proxies -> service, of tests/peers/kit/app: scenarios of the proxies_* peers."""

import os

from . import build, proxies
from .peer import Scenario
from .world import APP

PACKAGES = ("httpx[http2]==0.28.1", "hypercorn==0.18.0")
SERVICE = 9080


def python(cache):
    return os.path.join(build.venv(cache, "http", *PACKAGES), "python")


def service(world, port=SERVICE):
    world.start("service", [python(world.cache), os.path.join(APP, "echo_service.py"), port],
                port=port)


def client(port, protocol, between=(), script="http_calls.py"):
    return lambda world: world.client("client", [
        python(world.cache), os.path.join(APP, script), port, protocol, *between])


def scenario(name, proxy, hops, protocol, between=(), script="http_calls.py", **how):
    """
    proxy(world) starts what stands between; hops: its ports, the first is dialled; between: "host:port=
    protocol" of hops from proxy to proxy.
    """
    def start(world):
        service(world)
        if proxy:
            proxy(world)

    return Scenario(name, [*hops, SERVICE], start,
                    client(hops[0] if hops else SERVICE, protocol, between, script), **how)


def haproxy(world, port, upstream, options="", listen=""):
    """proto h2 in options: h2c to the service; in listen: only h2c from the client."""
    program = proxies.need("haproxy")
    conf = world.path("haproxy-%d.cfg" % port)
    proxies.write(conf, proxies.HAPROXY.format(
        listen="127.0.0.1:%d %s" % (port, listen), upstream="127.0.0.1:%d" % upstream,
        options=options))
    world.start("haproxy-%d" % port, [program, "-f", conf], port=port)


def nghttpx(world, port, upstream, front="", back="", *more):
    """front, back: parameters of the two, such as ";proxyproto" and ";;proto=h2"."""
    world.start("nghttpx-%d" % port, [
        proxies.need("nghttpx"), "--conf=/dev/null", "-f127.0.0.1,%d;no-tls%s" % (port, front),
        "-b127.0.0.1,%d%s" % (upstream, back), "--workers=1", "-LERROR", *more], port=port)


NGINX = """
daemon off; user root; worker_processes 1; pid {dir}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 8m; keepalive_requests 1000000;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  upstream behind {{ server 127.0.0.1:{upstream}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port} {options};
    location / {{
      proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }}
  }}
}}
"""


def nginx(world, port, upstream, options=""):
    """options: http2 (prior knowledge only), proxy_protocol."""
    directory = world.path("nginx-%d" % port)
    os.makedirs(directory, exist_ok=True)
    conf = os.path.join(directory, "nginx.conf")
    proxies.write(conf, NGINX.format(dir=directory, port=port, upstream=upstream, options=options))
    world.start("nginx-%d" % port, [proxies.need("nginx"), "-p", directory, "-c", conf], port=port)
