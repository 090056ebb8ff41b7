"""What `serve` says when requests are answered: where, with which demo keys, and a call to try."""

from collections.abc import Iterator, Sequence

from gateway.settings.address import parse_address
from gateway.settings.prepare import Prepared
from gateway.settings.schema import Config

_CHAT = "/v1/chat/completions"


def describe_start(prepared: Prepared, addresses: Sequence[str]) -> str:
    """Lines for a person; `addresses` are those bound, so that a port 0 has become a real one."""
    listen = prepared.config.listen
    admin = f"; admin API at {listen.admin}" if listen.admin else ""
    lines = [f"tollkeeper serves {', '.join(addresses)}; status at {listen.status}{admin}"]
    if prepared.demo_keys:
        width = max(map(len, prepared.demo_keys))
        lines += ["", "Demo keys:", *(f"  {tier:{width}}  {key}" for tier, key in prepared.demo_keys.items())]
        lines += _examples(prepared, addresses)
    return "\n".join(lines) + "\n"


def _examples(prepared: Prepared, addresses: Sequence[str]) -> Iterator[str]:
    config = prepared.config
    model = next((name for name in config.models if "*" not in name and "?" not in name), "")
    if not model or all(route.path != _CHAT for route in config.routes):
        return
    key = next(iter(prepared.demo_keys.values()))
    message = f'"model": "{model}", "messages": [{{"role": "user", "content": "Hello there"}}]'
    for title, flags, extra in (("Try:", "", ""), ("Or streamed:", "-N ", ', "stream": true')):
        yield ""
        yield title
        yield f"  curl {flags}{_target(config, addresses[0])}{_CHAT} -H 'Authorization: Bearer {key}' \\"
        yield f"    -H 'Content-Type: application/json' -d '{{{message}{extra}}}'"


def _target(config: Config, bound: str) -> str:
    """The address as curl's arguments."""
    address = parse_address(bound)
    scheme, insecure = ("https", "-k ") if config.listen.proxy[0].certificates else ("http", "")
    if address.path:
        return f"{insecure}--unix-socket {address.path} {scheme}://localhost"
    return f"{insecure}{scheme}://{bound.replace('0.0.0.0', '127.0.0.1').replace('[::]', '[::1]')}"
