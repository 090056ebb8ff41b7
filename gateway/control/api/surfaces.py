"""The table of all endpoints: one module a surface, each with its `ENDPOINTS`."""

from gateway.control.api import (
    analytics,
    audit,
    directory,
    engines,
    export,
    feedback,
    pulls,
    status,
    tail,
    traces,
    usage,
)
from gateway.control.api.document import endpoints_of
from gateway.control.api.endpoint import Endpoint

_SURFACES: tuple[Endpoint, ...] = (
    *status.ENDPOINTS,
    *engines.ENDPOINTS,
    *directory.ENDPOINTS,
    *pulls.ENDPOINTS,
    *tail.ENDPOINTS,  # before {id}
    *traces.ENDPOINTS,
    *feedback.ENDPOINTS,
    *export.ENDPOINTS,
    *analytics.ENDPOINTS,
    *usage.ENDPOINTS,
    *audit.ENDPOINTS,
)
ENDPOINTS: tuple[Endpoint, ...] = (*_SURFACES, *endpoints_of(_SURFACES))
