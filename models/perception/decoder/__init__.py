"""The decoder: a process of its own in which a stranger's bytes meet a million lines of C, and which is all that they can end.

`models.perception.media` runs it as a module with one JSON argument, a `Request`; it writes one line of JSON, then the pictures
as bytes. It knows nothing of the rest of the house.
"""
