# SPDX-License-Identifier: Apache-2.0
"""nginx as service or proxy, HAProxy and nghttpx as proxies: real software with our configuration."""

import json
import os
import socket
import subprocess

from . import http1, net
from .capture import Skip

NGINX = """
daemon off;
user root;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/nginx.err;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  log_format calls escape=json '{{"client":"$remote_addr:$remote_port","server":"$server_addr:$server_port",'
    '"number":$connection_requests,"method":"$request_method","target":"$request_uri","status":$status,'
    '"call":"$arg_call","response_wire":$bytes_sent,"response_bytes":$body_bytes_sent,'
    '"request_wire":$request_length,"host":"$http_host"}}';
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  sendfile {sendfile};
  tcp_nodelay on;
  keepalive_requests 10000000;
  client_max_body_size 64m;
  upstream behind {{ server {upstream}; keepalive 8; }}
  server {{
    {listen}
    access_log {log};
    root {dir}/www;
    add_header X-Call $arg_call always;
    location = /token {{ return 200 "$arg_call\\n"; }}
    location = /teapot {{ return 418 "$arg_call\\n"; }}
    location = /fail {{ return 500 "$arg_call\\n"; }}
    location /pass/ {{
      proxy_pass http://behind/; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""

HAPROXY = """
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  http-reuse always
frontend in
  bind {listen}
  default_backend out
backend out
  server s {upstream} {options}
"""


def need(program):
    for directory in os.environ["PATH"].split(":") + ["/usr/sbin", "/sbin"]:
        if os.access(os.path.join(directory, program), os.X_OK):
            return os.path.join(directory, program)
    raise Skip(program + " is not installed")


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def accepts(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(0.5)
        return s.connect_ex((host, port)) == 0


def listening(host, port):
    """A listening socket on this port in our namespace, without a connection that would be seen."""
    want = "%04X" % port
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="utf-8") as f:
            for line in f:
                field = line.split()
                if field[3] == "0A" and field[1].endswith(":" + want):
                    return True
    return False


def start(name, argv, directory, port, cgroup=None):
    log = open(os.path.join(directory, name + ".out"), "wb")

    def before():
        net.die_with_parent()
        if cgroup:
            net.enter_cgroup(cgroup)

    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                         preexec_fn=before)
    net.wait_until("%s listens on %d" % (name, port),
                   lambda: p.poll() is not None or listening("", port), 10, 0.005)
    if p.poll() is not None:
        with open(log.name, encoding="utf-8", errors="replace") as f:
            raise RuntimeError("%s ended: %s" % (name, f.read()[-300:]))
    return p


def www(directory):
    """Files of 1 KiB, 16 KiB and 5 MiB; name -> bytes."""
    os.makedirs(os.path.join(directory, "www"), exist_ok=True)
    files = {"1k": 1024, "16k": 16384, "5m": 5 << 20}
    out = {}
    for name, size in files.items():
        out[name] = http1.pattern(size, name)
        with open(os.path.join(directory, "www", name), "wb") as f:
            f.write(out[name])
    return out


def nginx(directory, port, host="127.0.0.1", upstream="127.0.0.1:1", sendfile="on", cgroup=None,
          workers=1, listen=None, log_calls=True, connections=4096, wrap=()):
    """The path of its log of calls."""
    program = need("nginx")
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o755)
    www(directory)
    log = os.path.join(directory, "calls.log")
    shown = "[%s]" % host if ":" in host else host
    listen = listen or "listen %s:%d;" % (shown, port)
    conf = os.path.join(directory, "nginx.conf")
    write(conf, NGINX.format(dir=directory, log=log + " calls" if log_calls else "off",
                             connections=connections, listen=listen, upstream=upstream,
                             sendfile=sendfile, workers=workers))
    start("nginx", [*wrap, program, "-p", directory, "-c", conf], directory, port, cgroup)
    return log


def haproxy(directory, port, upstream, options="", host="127.0.0.1", cgroup=None):
    program = need("haproxy")
    os.makedirs(directory, exist_ok=True)
    conf = os.path.join(directory, "haproxy-%d.cfg" % port)
    write(conf, HAPROXY.format(listen="%s:%d" % (host, port), upstream=upstream, options=options))
    return start("haproxy-%d" % port, [program, "-f", conf], directory, port, cgroup)


def nghttpx(directory, port, upstream_host, upstream_port, cgroup=None):
    program = need("nghttpx")
    os.makedirs(directory, exist_ok=True)
    return start("nghttpx", [program, "--conf=/dev/null", "-f127.0.0.1,%d;no-tls" % port,
                             "-b%s,%d" % (upstream_host, upstream_port), "--workers=1", "-LERROR"],
                 directory, port, cgroup)


def read_calls(log, at_least, seconds=5):
    """nginx writes the line after the answer: waits until there are enough."""
    def look():
        try:
            with open(log, encoding="utf-8") as f:
                lines = f.readlines()
        except FileNotFoundError:
            return None
        return lines if len(lines) >= at_least else None
    return [json.loads(line) for line in net.wait_until("%d lines in %s" % (at_least, log), look,
                                                        seconds)]
