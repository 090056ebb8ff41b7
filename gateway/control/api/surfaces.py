"""The table of all endpoints: one module a surface, each with its `ENDPOINTS`."""

from gateway.control.api.endpoint import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = ()
