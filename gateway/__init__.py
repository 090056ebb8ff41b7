"""Tollkeeper's core: processes, data plane, ledger, store. It knows no plugin and no engine by name."""

__version__ = "0.1.0"
