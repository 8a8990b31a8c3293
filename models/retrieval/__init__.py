"""Which of all videos a viewer may want: two towers that put viewers and videos into one space."""
