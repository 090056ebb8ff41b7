"""What holds for every test, however the suite was started."""

import signal


def pytest_configure() -> None:
    """A shell starts what it puts into the background with SIGINT ignored, and children inherit that: some are to be
    interrupted."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
