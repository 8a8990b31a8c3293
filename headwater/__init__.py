"""The program: command line, configuration and wiring. It imports every room; no room imports it."""
