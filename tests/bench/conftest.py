"""What is installed in `work` has tests of its own, which are not ours to run."""

collect_ignore = ["work"]
