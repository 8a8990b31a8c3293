"""Experiments on viewers: who gets whose pages, what came of them, and what may be said of it at any time."""
