"""`headwater feast`: Feast's own command on `feature_repo/`, with the addresses of this configuration or the running house."""

import os
import subprocess
import sys
from pathlib import Path

import typer

REPO = Path(__file__).resolve().parents[2] / "feature_repo"


def feast(context: typer.Context) -> None:
    """Run Feast's own command on the feature repository: apply, materialize, feature-views list, ui, …"""
    import yaml  # type: ignore[import-untyped]

    from headwater.settings import load

    settings = load()
    if not settings.features.connection_string:
        raise typer.BadParameter(
            "no Redis is configured and none runs: start `headwater up`, or set features.connection_string"
        )
    registry = Path(settings.features.registry).resolve()
    registry.parent.mkdir(parents=True, exist_ok=True)
    described = yaml.safe_load((REPO / "feature_store.yaml").read_text()) | {"registry": str(registry)}
    described["online_store"]["connection_string"] = settings.features.connection_string
    file = registry.with_name("feature_store.yaml")
    file.write_text(yaml.safe_dump(described))
    environment = os.environ | {"HEADWATER_FEATURES__LOG": str(Path(settings.features.log).resolve())}
    command = [sys.executable, "-m", "feast.cli.cli", "--feature-store-yaml", str(file), *context.args]
    raise typer.Exit(subprocess.run(command, cwd=REPO, env=environment, check=False).returncode)
