"""Documents in, kept documents out: measured once, judged by rules over the measurements."""
