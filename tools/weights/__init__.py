"""Published weights: what there is (lock), how it is fetched (drive), read (files), checked (fit) and kept (store)."""
