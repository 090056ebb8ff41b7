"""Plugins: one file each, named as in the config; they import only the contract."""
