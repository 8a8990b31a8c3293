"""The stack on this machine: a broker, Redis and Triton, each a real server out of a wheel."""
