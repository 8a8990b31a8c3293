"""A world of real events and simulated viewers, which knows Headwater only by its public API."""
