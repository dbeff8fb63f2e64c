"""The loop over batches and epochs: data of any kind, history, callbacks, progress."""
