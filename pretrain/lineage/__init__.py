"""Accounts of a run and the way of a document back to its bytes."""
