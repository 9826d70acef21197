"""Pre-training of foundation models, end to end: one recipe in, one base model out."""

__version__ = "0.1.0"
