"""The feed pipeline: hydrate, source, filter, score, select, and what follows from a page. One small type a file."""
