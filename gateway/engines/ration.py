"""How much of the machine an engine may take: its niceness and its processors. Memory is planned, not enforced."""

import logging
import os

import msgspec

_log = logging.getLogger("tollkeeper.engines")


class Ration(msgspec.Struct, frozen=True):
    """`nice` is the niceness itself, not what is added. `cpus` are numbers of processors, empty for all."""

    nice: int = 0
    cpus: tuple[int, ...] = ()

    def apply(self, pid: int) -> None:
        """Bound the process `pid`, which has just been started: what it starts itself inherits it.

        What the system does not have, or does not allow, is left alone and logged.
        """
        try:
            if self.nice:
                os.setpriority(os.PRIO_PROCESS, pid, self.nice)
            if self.cpus and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(pid, self.cpus)
        except ProcessLookupError:
            pass  # it has ended already
        except OSError as error:
            _log.warning("process %d keeps its place on the machine: %s", pid, error)


UNBOUND = Ration()
