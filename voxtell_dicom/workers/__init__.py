"""Worker processes that hold the model, and the pool that lends them."""
