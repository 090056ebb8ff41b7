"""The audit log: who did what to the gateway, and who tried to get in. See `entry` for how it is chained."""
