"""Workflows: durabletask's work-item protocol on rows of the daemon's own file. Nothing else has to run."""
