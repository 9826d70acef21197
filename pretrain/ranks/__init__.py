"""The processes of a run: where each stands, how they sum, how they watch one another."""
