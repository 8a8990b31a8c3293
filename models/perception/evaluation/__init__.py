"""How well videos are understood: labelled clips from their frames alone, and titles by what the same viewers watch."""
