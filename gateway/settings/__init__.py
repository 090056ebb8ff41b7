"""The configuration file: its shape, its loading, and everything that can be wrong with it."""
