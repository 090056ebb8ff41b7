"""Models of the Hugging Face hub on this machine's disk."""
