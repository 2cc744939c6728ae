"""Adapters to other packages, one module each; none is imported unless it is asked for."""
