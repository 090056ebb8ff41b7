"""Who may spend what: rate arithmetic, leases, and the authority that grants them."""
