"""Raw sources in, documents out: Parquet shards, every record accounted for."""
