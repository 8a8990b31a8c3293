"""Feast: entities, views, and the one writer and reader the rest of Headwater uses."""
