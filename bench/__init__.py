"""What docs/performance.md says, measured again: ``make bench``."""
