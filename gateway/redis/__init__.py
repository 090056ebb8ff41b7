"""A lean client for Redis and Valkey: one pipelined connection per node, deadlines, a breaker. Knows no ledger."""
