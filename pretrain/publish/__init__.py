"""A trained model in, a folder that other people's tools load out."""
