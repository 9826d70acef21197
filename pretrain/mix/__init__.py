"""Token shards in, the order of training out: which window is sample number n, for every n."""
