"""One file a dataflow: a thin Bytewax graph over the plain objects of `streams.state`."""
