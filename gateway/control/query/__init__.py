"""What may be asked about traces: values in, conditions out. Knows no HTTP."""
