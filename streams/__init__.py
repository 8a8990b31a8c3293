"""Events in, features and triggers out: the stream room, which imports no other room."""
