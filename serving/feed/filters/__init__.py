"""What must not, or need not, be shown."""
