"""What a request must know of its viewer before candidates are looked for."""
