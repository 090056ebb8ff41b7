"""The control process: journal ingest, trace store, directory of consumers and keys."""
