"""Several ranks, started, watched over and started again; job files for clusters."""
