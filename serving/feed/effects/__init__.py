"""What follows from a page that was made, off the path of its answer."""
