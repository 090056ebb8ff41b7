"""`tollkeeper explain`: what the running gateway would do with a request, and why."""

import ipaddress
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from gateway.cli.option import Place, key_option, place_options
from gateway.cli.session import NotRunning, Refused, ask
from gateway.cli.table import draw
from gateway.settings.problem import ConfigError

_NAMES = 3  # headers that are named beside the step that adds them; all of them stand below
_PROMPT = [{"role": "user", "content": "Hello"}]


def _read_address(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no IP address") from None


@click.command()
@place_options
@key_option
@click.option("--model", default="", help="The body's model; without --body a short chat is made up.")
@click.option("--body", default="", help="JSON, or @FILE.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="One more; may be repeated.")
@click.option("--peer", default="127.0.0.1", show_default=True, callback=_read_address, help="Where it comes from.")
@click.option("--json", "as_json", is_flag=True, help="As the gateway tells it, for scripts.")
@click.argument("method")
@click.argument("path")
def explain(
    place: Place, key: str, model: str, body: str, headers: Sequence[str], peer: str, as_json: bool, method: str,
    path: str,
) -> None:  # fmt: skip
    """Show each step that a request METHOD PATH would take, where it would go and what it would cost.

    A worker of the running gateway rehearses it: nothing is sent, charged or logged. Where no gateway runs, the file
    alone is asked. The exit code is 0 if the request would be served, and 1 if it would be refused.
    """
    content = _read_body(body, model)
    question = {
        "method": method.upper(), "path": path, "headers": _assemble(headers, key, content), "body": content,
        "peer": peer,
    }  # fmt: skip
    told = _ask(place, question)
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(_outline(told)))
    raise SystemExit(1 if told["verdict"] == "refused" else 0)


def _ask(place: Place, question: dict[str, Any]) -> Any:
    """What the running gateway tells; where none runs, what the file alone does. Leaves with 1 where neither can be."""
    try:
        return ask(place.state, "explain", question)
    except Refused as error:
        click.echo(f"tollkeeper: {error}", err=True)
    except NotRunning as error:
        from gateway.cli.offline import explain_offline  # half of a worker

        click.echo(f"tollkeeper: {error}: told from {place.file} alone, as if nothing were spent", err=True)
        try:
            return explain_offline(place.file, question)
        except (ConfigError, OSError) as problem:
            click.echo(f"tollkeeper: {problem}", err=True)
    raise SystemExit(1)


def _read_body(text: str, model: str) -> bytes:
    """The body: as given, with `model` in it where that is given too."""
    if text.startswith("@"):
        try:
            content = Path(text[1:]).read_bytes()
        except OSError as error:
            raise click.BadParameter(f"{text[1:]} cannot be read: {error.strerror}", param_hint="--body") from None
    else:
        content = text.encode()
    if not model:
        return content
    try:
        fields = json.loads(content) if content else {"messages": _PROMPT}
        return json.dumps({**fields, "model": model}).encode()
    except (ValueError, TypeError):
        raise click.BadParameter("--model needs a body that is a JSON object", param_hint="--body") from None


def _assemble(headers: Sequence[str], key: str, body: bytes) -> list[tuple[str, str]]:
    """The headers that a client would send."""
    pairs = [("Host", "explain")]
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise click.BadParameter(f"{header!r} is not of the form 'Name: value'", param_hint="--header")
        pairs.append((name.strip(), value.strip()))
    named = {name.lower() for name, _ in pairs}
    if "host" in named and len([name for name, _ in pairs if name.lower() == "host"]) > 1:
        del pairs[0]  # theirs, not ours
    if key:
        pairs.append(("Authorization", f"Bearer {key}"))
    if body and "content-type" not in named:
        pairs.append(("Content-Type", "application/json"))
    if body and not named & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    return pairs


def _outline(told: dict[str, Any]) -> Iterator[str]:
    """For a person: who asks, the steps, where it goes, what it costs, the answer."""
    yield f"{told['method']} {told['path']}" + (f"  (route {told['route']})" if told.get("route") else "")
    if told.get("consumer"):
        tier = f", tier {told['tier']}" if told["tier"] else ""
        yield f"caller: {told['consumer']} with {told['credential']}{tier}"
    yield ""
    yield draw([_row(step) for step in told["steps"]], ("step", "decision", "what")).rstrip()
    yield ""
    yield from _place(told.get("target", {}))
    if told.get("cost"):
        unit = "unit" if told["cost"] == 1 else "units"
        yield f"cost: {told['cost']:g} {unit}" + ("" if told["charged"] else ", nothing is charged")
    yield f"answer: {_answer(told)}"
    yield from (f"  {header}" for header in told["headers"])


def _row(step: dict[str, Any]) -> dict[str, Any]:
    names = [line.partition(":")[0] for line in step["lines"]]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    what = f"adds {', '.join(names[:_NAMES])}{more}" if names else ""
    if step["number"]:
        what = f"{step['number']} {step['message']}".strip()
    return {"step": step["name"], "decision": step["decision"], "what": what}


def _place(place: dict[str, Any]) -> Iterator[str]:
    if "backend" in place:
        model = f"model {place['model']} (sent as {place['sent_as']}), " if "model" in place else ""
        yield f"goes to: {model}backend {place['backend']}"
    yield from (f"  instead of {fallen['model']}: error {fallen['error']}" for fallen in place.get("instead_of", ()))
    if (fallback := place.get("fallback")) and fallback["to"]:
        yield f"  falls back to: {', '.join(fallback['to'])} (on {', '.join(fallback['on'])})"
    for endpoint in place.get("endpoints", ()):
        mark = "  <- this one" if endpoint["url"] == place.get("endpoint") else ""
        yield f"  {endpoint['url']}: {endpoint['state']}, {endpoint['inflight']} in flight{mark}"
    if engine := place.get("engine"):
        slots = f"{engine['in_use']} of {engine['slots'] or 'any number of'} slots in use, {engine['waiting']} wait"
        if engine.get("expected_wait"):
            slots += f"; in class {engine['class']} behind {engine['ahead']}, about {engine['expected_wait']} s"
        yield f"  engine {engine['state']}: {slots}"


def _answer(told: dict[str, Any]) -> str:
    if told["verdict"] == "sent on":
        return "what the model server says"
    if told["status"] is None:
        return "the gateway's own; it would change something, so it was not asked for"
    return f"{told['status']}" + (f", error {told['error']}: {told['message']}" if "error" in told else "")
