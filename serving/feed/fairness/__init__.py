"""Who is shown: exposure by author and of new videos as this node served it, and the knobs that bring it to a target."""
