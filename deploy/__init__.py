"""Where Headwater runs: the stack on this machine from wheels, and manifests for others."""
