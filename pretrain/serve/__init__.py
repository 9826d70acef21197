"""A trained model in, texts over HTTP out."""
