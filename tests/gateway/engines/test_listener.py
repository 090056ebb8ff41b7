"""Ports and their owners, with real sockets."""

import os
import socket

from gateway.engines.listener import find_foreigner, pick_port


def test_picked_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", pick_port())):
        pass


def test_own_listener_is_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as own:
        assert find_foreigner(own.getsockname()[1], os.getpgrp()) is None


def test_listener_of_another_group() -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        assert find_foreigner(port, 999_999) == f"port {port} was taken by another process"


def test_listener_on_every_address() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert "every address" in (find_foreigner(server.getsockname()[1], os.getpgrp()) or "")
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        assert "every address" in (find_foreigner(server.getsockname()[1], os.getpgrp()) or "")
