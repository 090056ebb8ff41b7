"""Engine processes: shim, states, slots. Used by the supervisor only."""
