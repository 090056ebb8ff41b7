"""The suites in `work` are run by `python -m tests.conformance`, not by this project's pytest."""

collect_ignore = ["work"]
