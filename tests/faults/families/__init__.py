"""Families of malformed requests: each module is a function from a `Template` to its cases."""
