"""The command line of the export."""

import argparse
from pathlib import Path

from models.export import export

DEFAULT_FOLDER = Path("var/models")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="models.export", description="Export the models that Triton serves.")
    parser.add_argument("--force", action="store_true", help="export even what is up to date")
    parser.add_argument("--to", type=Path, default=DEFAULT_FOLDER, help="where they go (default: %(default)s)")
    arguments = parser.parse_args()
    if not export(arguments.to, force=arguments.force):
        print(f"models in {arguments.to} are up to date")


if __name__ == "__main__":
    main()
