"""report.html: one self-contained page that tells a whole run, from its files only."""
