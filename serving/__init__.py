"""The HTTP API and the feed pipeline: where viewers' apps meet the loop."""
