"""Kept documents in, token shards out, with the tokenizer that made them."""
