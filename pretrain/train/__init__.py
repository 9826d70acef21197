"""Token shards and their order in, a trained model out, exactly resumable."""
