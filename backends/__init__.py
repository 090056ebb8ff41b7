"""Backends: one file per engine, each a description; they import only the contract."""
