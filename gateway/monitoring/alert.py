"""An alert and its time: the windows of all of them can be shortened, so that real faults fire them within seconds."""

import re
from typing import Any, Literal

import msgspec

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WINDOW = re.compile(r"(?<=\[)\d+[smhd](?=\])|(?<=offset )\d+[smhd]")
_SECONDS = re.compile(r"\{(\d+[smhd])\}")


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. `expr` is PromQL, in which `[5m]` and `offset 5m` are windows and `{5m}` stands for so many seconds.

    `lasting` is how long it must hold. `critical` wakes somebody, `warning` can wait for the morning.
    """

    name: str
    severity: Literal["critical", "warning"]
    expr: str
    lasting: str
    summary: str
    description: str

    def rule(self, scale: float, runbooks: str) -> dict[str, Any]:
        """As Prometheus wants it, with every window divided by `scale`. `runbooks` is the page of all sections."""
        expr = _WINDOW.sub(lambda match: _duration(_seconds(match[0]) / scale), self.expr)
        return {
            "alert": self.name,
            "expr": _SECONDS.sub(lambda match: f"{_seconds(match[1]) / scale:g}", expr),
            "for": _duration(_seconds(self.lasting) / scale),
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks}#{self.name.lower()}",
            },
        }


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * _UNITS[duration[-1]]


def _duration(seconds: float) -> str:
    """In Prometheus' words, which know no fractions."""
    for unit in ("d", "h", "m", "s"):
        if seconds % _UNITS[unit] == 0 and (seconds or unit == "s"):
            return f"{seconds / _UNITS[unit]:g}{unit}"
    return f"{max(1, round(seconds * 1000))}ms"
