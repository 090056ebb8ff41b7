"""Many requests in a few numbers: how they are rolled up, and what is read from that. Knows no HTTP."""
