"""One table of what only a GPU can tell: tests, steps, peak, pipeline, refresh, k-NN, waiting."""
