"""What is understood of one viewer: their instructions, and a ranking made for them off the request path."""
