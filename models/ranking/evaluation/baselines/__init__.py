"""What a platform could have without us: each fitted to the same log, and asked the same."""
