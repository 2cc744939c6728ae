"""Data that a few lines of YAML describe: the description, the table of samples, the arrays, and what a modality makes of them."""
