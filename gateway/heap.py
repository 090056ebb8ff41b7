"""What a long-lived process need not look at again, once it has started."""

import gc

_YOUNG = 20_000  # objects between two collections: a request leaves few in circles


def settle_heap() -> None:
    """Let the garbage collector pass over everything there is now; to be called after a start.

    Where generations of a configuration come and go it is called for each: what was passed over before is looked at
    once more, so that circles which an earlier generation left are freed by one of the next.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
