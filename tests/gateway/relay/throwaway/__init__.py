"""Plugins as a third party would write them: they know the contract and nothing else. Tests load them by name."""
