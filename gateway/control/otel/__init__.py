"""OpenTelemetry: stored rows told to a collector, as traces and metrics with the names of the GenAI conventions."""
