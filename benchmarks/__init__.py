"""Costs as ratios: both sides run in turns in one process, on one thread, and medians are compared."""
