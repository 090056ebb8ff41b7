"""A door: an aiohttp application made of the endpoints that are served there."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from gateway.control.api.act import describe_act, describe_stranger
from gateway.control.api.call import Call, Caller, Found, Listed
from gateway.control.api.endpoint import ADMIN, Door, Endpoint
from gateway.control.api.envelope import render, render_error
from gateway.control.api.house import House
from gateway.control.api.reading import LONGEST_BODY, read_body, read_path, read_query
from gateway.errors import GatewayError
from gateway.link import door as link

Identify = Callable[[web.Request, str], Caller]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
_CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
_ANSWER: web.RequestKey[web.StreamResponse] = web.RequestKey("answer", web.StreamResponse)  # that has begun
_WRONG_KEY = 1002
_log = logging.getLogger("tollkeeper.control")


def make_application(
    endpoints: Iterable[Endpoint], door: Door, house: House, name: Callable[[web.Request], str], identify: Identify
) -> web.Application:
    """`name` gives the id of a request. `identify` says who calls; it raises GatewayError where nobody may."""
    header = link.ERROR if door == "client" else "X-Tollkeeper-Error"
    application = web.Application(client_max_size=LONGEST_BODY, middlewares=[_guard(name, identify, header, house)])
    application.on_response_prepare.append(_note_begin)
    for endpoint in endpoints:
        if door in endpoint.doors:
            _add(application.router, endpoint, _serve(endpoint, house))
    return application


def _add(router: web.UrlDispatcher, endpoint: Endpoint, handler: Handler) -> None:
    if endpoint.method == "GET":
        router.add_get(endpoint.path, handler, allow_head=endpoint.form != "stream")
    else:
        router.add_route(endpoint.method, endpoint.path, handler)


def _serve(endpoint: Endpoint, house: House) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        caller = request[_CALLER]
        _check_caller(endpoint, caller)
        query = read_query(endpoint.query, request.query)
        body = None if endpoint.body is None else await read_body(endpoint.body, request)
        call: Call[Any, Any] = Call(caller, read_path(request.match_info), query, body, house, request)
        if endpoint.doors == ADMIN and endpoint.method != "GET":
            result = await house.witness(describe_act(endpoint, call), endpoint.handler(call))
        else:
            result = await endpoint.handler(call)
        return render(call, result, began) if isinstance(result, Listed | Found) else result

    return serve


def _check_caller(endpoint: Endpoint, caller: Caller) -> None:
    if not (endpoint.is_open or caller.consumer or caller.is_admin):
        raise GatewayError(1001)
    if endpoint.permissions and not any(caller.may(permission) for permission in endpoint.permissions):
        wanted = " or ".join(endpoint.permissions)
        text = f"This asks for {wanted}, which the role {caller.role!r} does not hold. Ask the operator for it."
        raise GatewayError(1104, text, details={"permission": wanted, "role": caller.role})


def _guard(name: Callable[[web.Request], str], identify: Identify, header: str, house: House) -> Any:
    """Who is there, and every failure as an error of the catalogue, with its number in `header`."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = request[REQUEST_ID] = name(request)
        try:
            request[_CALLER] = identify(request, request_id)
            return await handler(request)
        except ConnectionError:
            return request[_ANSWER] if _ANSWER in request else web.Response()  # the reader has left: nobody hears it
        except GatewayError as error:
            if _CALLER not in request and error.number == _WRONG_KEY:
                await house.note(describe_stranger(request, house.clock()))
            failure = error
        except web.HTTPNotFound:
            failure = GatewayError(1301, "No such address.")
        except web.HTTPMethodNotAllowed as error:
            failure = GatewayError(1207, headers={"Allow": ", ".join(sorted(error.allowed_methods))})
        except Exception:
            _log.exception("%s %s failed (request %s)", request.method, request.path, request_id)
            failure = GatewayError(1900)
        if _ANSWER in request:
            return _break_off(request)
        return render_error(failure, request_id, header)

    return guard


async def _note_begin(request: web.Request, response: web.StreamResponse) -> None:
    request[_ANSWER] = response


def _break_off(request: web.Request) -> web.StreamResponse:
    """What is not whole must not look as if it were."""
    if request.transport is not None:
        request.transport.abort()
    return request[_ANSWER]
