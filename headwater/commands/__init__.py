"""The commands of `headwater`, a file each. What a command needs is imported when it runs, so `--help` stays fast."""
