"""Is the request what its API takes? For routes that lead to models.

    plugins:
      - validate:
          tiers: {free: {prompt: 2000, max_tokens: 512, messages: 50}}
          defaults: {temperature: 0.7}
          unknown: refuse
          image_urls: data_only

Types are strict ("0.7" is no number), and every refusal (1213, 1214, 1220) names the field by its path and says what
it may be. The path's end says which API it is: chat/completions, completions, embeddings, responses, messages, rerank;
elsewhere only the sampling parameters are checked, which all have in common.

`prompt` is characters of all texts of the request together (a token id counts as four), `messages` their number and
`max_tokens` the longest answer: who names none gets the limit. A tier that is listed uses the general figure for what
it does not name; 0 lifts a limit. `defaults` are set where the client is silent. `unknown: refuse` takes only fields
that the API has, and those listed in `allow`. `image_urls` is about every address that a model server would fetch:
`data_only` takes data: addresses alone, `refuse` none. Where a prompt is limited or addresses are, what was checked is
what goes on, written anew: else a member that stands twice in a message could show one thing to the check and another
one to the server.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Exchange, Services
from gateway.wire import encode_object
from plugins.validate import shapes
from plugins.validate.links import find_links, is_address, is_data
from plugins.validate.prompts import COUNT
from plugins.validate.wording import Wording

ANONYMOUS = "anonymous"
Bound = Annotated[int, msgspec.Meta(ge=0)]


class Bounds(BaseSettings, frozen=True):
    """Of one request: characters, messages, tokens of the answer. None: as for everybody; 0: no limit."""

    prompt: Bound | None = None
    messages: Bound | None = None
    max_tokens: Bound | None = None


class Settings(BaseSettings, frozen=True):
    prompt: Bound = 0
    messages: Bound = 0
    max_tokens: Bound = 0
    tiers: dict[str, Bounds] = msgspec.field(default_factory=dict)
    defaults: dict[str, Any] = msgspec.field(default_factory=dict)
    unknown: Literal["pass", "refuse"] = "pass"
    allow: tuple[str, ...] = ()
    image_urls: Literal["pass", "data_only", "refuse"] = "pass"

    def __post_init__(self) -> None:
        known = {field.encode_name for field in msgspec.structs.fields(shapes.Sampling)}
        for name in self.defaults:
            if name not in known:
                raise ValueError(f"`defaults` knows only parameters of sampling such as temperature, not `{name}`")
        try:
            msgspec.convert(self.defaults, shapes.Sampling)
        except msgspec.ValidationError as error:
            refusal = Wording(shapes.Sampling).explain(error)
            raise ValueError(f"`defaults`: {refusal.message}") from None


class Dialect:
    """What is known of one API, worked out once. `length` are the fields that say how long an answer may be."""

    def __init__(self, shape: type[msgspec.Struct], *length: str) -> None:
        self.decode = msgspec.json.Decoder(shape).decode
        self.count = COUNT[shape]
        self.wording = Wording(shape)
        self.known = shapes.known_fields(shape)
        self.length = length


_DIALECTS: dict[str, Dialect] = {
    "chat/completions": Dialect(shapes.Chat, "max_tokens", "max_completion_tokens", "n_predict"),
    "completions": Dialect(shapes.Completion, "max_tokens", "max_completion_tokens", "n_predict"),
    "embeddings": Dialect(shapes.Embedding),
    "responses": Dialect(shapes.Response, "max_output_tokens"),
    "messages": Dialect(shapes.Anthropic, "max_tokens"),
    "rerank": Dialect(shapes.Rerank),
}
_UNKNOWN = Dialect(shapes.Unknown)
_SIZED = frozenset(("response_format", "json_schema", "guided_json", "structured_outputs"))


def find_dialect(path: str) -> Dialect:
    """The API that a path's end names."""
    stem, _, last = path.rpartition("/")
    if last == "completions" and stem.endswith("/chat"):
        last = "chat/completions"
    return _DIALECTS.get(last, _UNKNOWN)


class Plugin(BasePlugin[Settings]):
    place = "shape"
    needs = "body"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._general = (settings.prompt, settings.messages, settings.max_tokens)
        self._bounds = {name: _fill(bounds, self._general) for name, bounds in settings.tiers.items()}
        self._defaults = tuple(settings.defaults.items())
        self._allowed = frozenset(settings.allow)

    async def start(self, services: Services) -> None:
        self._clock = services.clock

    def access(self, exchange: Exchange) -> None:
        fields = exchange.fields
        if fields is None:
            return
        dialect = find_dialect(exchange.path)
        if self.settings.unknown == "refuse":
            self._refuse_unknown(fields, dialect)
        body = encode_object(fields) if exchange.body is None else exchange.body
        try:
            request = dialect.decode(body)
        except msgspec.ValidationError as error:
            raise dialect.wording.explain(error) from None
        _check_sizes(fields)
        characters = dialect.count(request)
        prompt = 0
        if self._bounds or any(self._general):
            prompt = self._check_bounds(exchange, request, characters, dialect)
        if self.settings.image_urls != "pass":
            self._check_links(fields, _write_anew(exchange))
        elif prompt and len(body) > prompt:
            _write_anew(exchange)
        for name, value in self._defaults:
            if name not in fields and name in dialect.known and dialect.length:
                exchange.set_field(name, value)

    def _refuse_unknown(self, fields: Mapping[str, Any], dialect: Dialect) -> None:
        if dialect is _UNKNOWN:
            return
        for name in fields:
            if name not in dialect.known and name not in self._allowed:
                raise GatewayError(1220, f"The field {name[:64]!r} is not known here.", param=name[:64])

    def _check_bounds(self, exchange: Exchange, request: Any, characters: int, dialect: Dialect) -> int:
        """The characters that a prompt may have; 0: any number."""
        credential = exchange.credential
        tier = ANONYMOUS if credential is None else credential.tier_at(self._clock.wall())
        prompt, messages, tokens = self._bounds.get(tier, self._general)
        if prompt and characters > prompt:
            raise _beyond(tier, "prompt", characters, prompt, "characters of prompt")
        count = _count_turns(request)
        if messages and count > messages:
            raise _beyond(tier, "messages", count, messages, "messages")
        if tokens and dialect.length:
            given = {name: value for name in dialect.length if (value := getattr(request, name)) is not None}
            for name, value in given.items():
                if not 0 < value <= tokens:
                    raise _beyond(tier, name, value, tokens, f"tokens of answer ({name})")
            if not given:
                exchange.set_field(dialect.length[0], tokens)
        return prompt

    def _check_links(self, fields: Mapping[str, msgspec.Raw], inside: dict[str, Any]) -> None:
        addresses = {name: msgspec.json.decode(fields[name]) for name in fields if is_address(name)}
        for name, value in (inside | addresses).items():
            for path, link in find_links(value, name, name):
                if self.settings.image_urls == "refuse" or not is_data(link):
                    text = f"{path} must not lead elsewhere: {_TAKEN[self.settings.image_urls]}."
                    raise GatewayError(1214, text, param=path)


_TAKEN = {"refuse": "addresses are not taken", "data_only": "only data: addresses are taken"}


def _fill(bounds: Bounds, general: tuple[int, int, int]) -> tuple[int, int, int]:
    own = (bounds.prompt, bounds.messages, bounds.max_tokens)
    prompt, messages, tokens = (other if mine is None else mine for mine, other in zip(own, general, strict=True))
    return prompt, messages, tokens


def _beyond(tier: str, param: str, used: int, limit: int, what: str) -> GatewayError:
    rule = f"tier:{tier}:{param}"
    text = f"Tier {tier} allows {limit} {what}; {used} were asked for. Send less, or ask for a larger tier."
    return GatewayError(1214, text, param=param, details={"rule": rule, "limit": limit, "used": used})


def _write_anew(exchange: Exchange) -> dict[str, Any]:
    """What is inside the fields, decoded; and they go on as it was understood, each member once."""
    assert exchange.fields is not None
    inside = {
        name: msgspec.json.decode(raw)
        for name, raw in exchange.fields.items()
        if bytes(memoryview(raw)[:1]) in (b"{", b"[")
    }
    for name, value in inside.items():
        try:
            exchange.set_field(name, value)
        except OverflowError:
            raise GatewayError(1214, f"{name} holds a whole number beyond 64 bits.", param=name) from None
    return inside


def _count_turns(request: Any) -> int:
    turns = request.input if isinstance(request, shapes.Response) else getattr(request, "messages", None)
    return len(turns) if isinstance(turns, list) else 0


def _check_sizes(fields: Mapping[str, msgspec.Raw]) -> None:
    """Schemas become grammars in engines, and those have no bound of their own."""
    for name in _SIZED & fields.keys():
        if len(bytes(fields[name])) > shapes.GRAMMAR:
            raise GatewayError(1214, f"{name} must have at most {shapes.GRAMMAR} bytes.", param=name)
