"""How much of the machine an engine may take: niceness, processors, GPUs, memory.

Memory is bounded twice, because neither bound is whole. The kernel refuses a process private memory beyond the limit
(RLIMIT_DATA, setrlimit(2)); a model that is mapped from its file is not private, nor is what GPUs hold. And what all
processes of the group hold together is looked at with every probe (`measure`): one that is over it is ended.
"""

import logging
import os
import resource
from collections.abc import Iterator

import msgspec

_log = logging.getLogger("tollkeeper.engines")
_OWN_MEMORY = (b"RssAnon:", b"RssShmem:")  # of proc_pid_status(5): not what is mapped from files


class Ration(msgspec.Struct, frozen=True):
    """`nice` is the niceness itself, not what is added. `cpus` are numbers of processors, empty for all.

    `memory` is bytes, 0 for no bound. `gpus` are numbers of GPUs, None for all of them.
    """

    nice: int = 0
    cpus: tuple[int, ...] = ()
    memory: int = 0
    gpus: tuple[int, ...] | None = None

    def apply(self, pid: int) -> None:
        """Bound the process `pid`, which has just been started: what it starts itself inherits it.

        What the system does not have, or does not allow, is left alone and logged.
        """
        try:
            if self.nice:
                os.setpriority(os.PRIO_PROCESS, pid, self.nice)
            if self.cpus and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(pid, self.cpus)
            if self.memory and hasattr(resource, "prlimit"):
                resource.prlimit(pid, resource.RLIMIT_DATA, (self.memory, self.memory))
        except ProcessLookupError:
            pass  # it has ended already
        except OSError as error:
            _log.warning("process %d keeps its place on the machine: %s", pid, error)

    def environment(self) -> dict[str, str]:
        """What shows an engine its GPUs only, in the words of CUDA, ROCm, oneAPI and llama.cpp's Vulkan.

        They are numbered as `nvidia-smi` does. ROCR_VISIBLE_DEVICES is emptied: it would be applied first, and the
        others count what it leaves.
        """
        if self.gpus is None:
            return {}
        numbers = ",".join(map(str, self.gpus))
        return {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": numbers or "-1",
            "HIP_VISIBLE_DEVICES": numbers or "-1",
            "ROCR_VISIBLE_DEVICES": "",
            "ONEAPI_DEVICE_SELECTOR": f"level_zero:{numbers}" if numbers else "*:cpu",
            "GGML_VK_VISIBLE_DEVICES": numbers,
        }


UNBOUND = Ration()


def can_bound_memory() -> tuple[bool, bool]:
    """Whether this system refuses a process too much memory, and whether it tells what a group has."""
    return hasattr(resource, "prlimit"), os.path.exists("/proc/self/status")


def measure(group: int) -> int | None:
    """Bytes of memory of their own that all processes of a group hold; None where there is no /proc."""
    try:
        return sum(_measure(pid) for pid in _members(group))
    except OSError:
        return None


def _members(group: int) -> Iterator[str]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getpgid(int(name)) == group:
                    yield name
            except OSError:  # it has ended meanwhile
                continue


def _measure(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = [line.split() for line in file if line.startswith(_OWN_MEMORY)]
    except OSError:
        return 0
    return 1024 * sum(int(line[1]) for line in lines)
