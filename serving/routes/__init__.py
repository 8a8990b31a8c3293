"""The routes, one concept a module; each is a function of the node that it serves."""
