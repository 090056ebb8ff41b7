"""What is told to whom no slot is given, with figures: how many are ahead, and how long they take."""

import math

from gateway.engines.admission import Claim, Outlook
from gateway.engines.residency import Refusal
from gateway.errors import GatewayError
from gateway.link import Failed


def queue_is_full(waiting: int, claim: Claim, outlook: Outlook) -> GatewayError:
    """1709: nobody more may wait."""
    return _refuse(1709, f"{waiting} requests wait for this model already.", claim, outlook)


def crowded_out(claim: Claim, outlook: Outlook, waited: float = 0.0) -> GatewayError:
    """1709: the place in a full queue went to somebody who is more entitled to it."""
    message = "The queue for this model is full, and its last place went to a request of more right."
    return _refuse(1709, message, claim, outlook, waited)


def waited_too_long(claim: Claim, outlook: Outlook, waited: float) -> GatewayError:
    """1802: no slot was free in time."""
    message = f"The request waited {waited:.3g} s for a free slot of the model; {outlook.ahead} were still ahead of it."
    return _refuse(1802, message, claim, outlook, waited)


def no_room(engine: str, memory: int, refusal: Refusal, vacancy: float | None) -> GatewayError:
    """1108, 1714 or 1716: it is not loaded, and why; what would help. `vacancy`: seconds until memory may be free."""
    facts = {"engine": engine, "memory": memory}
    match refusal:
        case Refusal.MAY_NOT_LOAD:
            help_ = "a model that is loaded, or a tier with may_load"
            return GatewayError(1108, details={**facts, "rule": "tier:may_load", "help": help_})
        case Refusal.MAY_NOT_EVICT:
            help_ = "a model that is loaded, a tier with may_evict, or waiting until another model is unloaded"
            told = {**facts, "rule": "tier:may_evict", "help": help_}
            if vacancy is None:
                return GatewayError(1714, details=told)
            headers = {"Retry-After": str(max(1, math.ceil(vacancy)))}
            return GatewayError(1714, details={**told, "wait": round(vacancy, 1)}, headers=headers)
    return GatewayError(1716, details={**facts, "rule": "memory", "help": "a larger `memory`, or fewer pinned models"})


def tell(error: GatewayError) -> Failed:
    """The error as it travels on the link."""
    return Failed(error.message, error.number, float(error.headers.get("Retry-After", 0)), dict(error.details))


def _refuse(number: int, message: str, claim: Claim, outlook: Outlook, waited: float = 0.0) -> GatewayError:
    details = {
        "class": claim.priority, "position": outlook.ahead + 1, "ahead": outlook.ahead,
        "expected_wait": round(outlook.wait, 1), "waited": round(waited, 3),
    }  # fmt: skip
    retry_after = str(max(1, math.ceil(outlook.wait)))
    return GatewayError(number, message, details=details, headers={"Retry-After": retry_after})
