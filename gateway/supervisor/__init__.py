"""The supervisor: the parent of all processes. It owns what belongs to all workers, and is small so that it lives."""

from gateway.supervisor.supervisor import run

__all__ = ["run"]
