"""What thinks and what learns."""
