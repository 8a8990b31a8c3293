"""The perception agent: what a video is about, from its title at once and from its frames after it."""
