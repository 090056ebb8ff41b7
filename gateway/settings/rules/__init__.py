"""What a configuration of the right shape can still get wrong: one file per subject, each a generator of problems."""
