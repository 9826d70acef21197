"""The network: single-device code that knows nothing of ranks."""
