"""How models and policies learn from what viewers did, and how what they learned is released."""
