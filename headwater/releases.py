"""What a house's broker is told of models: what the record says. Without what learns: the supervisor needs none of it."""

import logging
from pathlib import Path

from msgspec.structs import replace

from headwater.settings import Settings
from models.canaries import canary_of
from models.learning import record, releases
from models.learning.record import Standing
from streams.events import Release
from streams.kafka import EventProducer
from streams.topics import RELEASES

log = logging.getLogger(__name__)


class NotReleased(ConnectionError):
    """The broker did not take the event that tells of a release."""


def tell(settings: Settings, *models: str) -> list[str]:
    """Tell of models what serves, as the record has it, and return that. Told twice, it changes nothing.

    Of what can't be read on disk nothing is told: nodes that have it go on with it.

    Raises:
        NotReleased: the broker did not take it.
    """
    root = settings.learning.releases
    decisions = record.read(root)
    producer = EventProducer(settings.kafka)
    told = []
    for model in models:
        now = record.standing(decisions, model)
        wanted = {model: _serving(now), canary_of(model): [now.canary] * bool(now.canary)}
        for name, versions in wanted.items():
            release = _first(root, model, versions)
            if release is not None:
                producer.send(RELEASES, replace(release, name=name))
                told.append(f"{name} {release.version}")
            elif versions:
                log.error("%s %s: not told of, for it can't be read in %s", name, versions[0], root / model)
            elif now.known:
                producer.tombstone(RELEASES, name)
    if left := producer.close() + producer.undelivered:
        raise NotReleased(
            f"the broker did not take {left} events of {', '.join(models)}; the record has what serves, and the learner tells "
            "of it within a minute"
        )
    return told


def announce(settings: Settings) -> list[str]:
    """Tell a broker that may know of none what serves of every model, and return that.

    Raises:
        NotReleased: the broker did not take it.
    """
    models = record.models(record.read(settings.learning.releases))
    return tell(settings, *models) if models else []


def _serving(now: Standing) -> list[str]:
    """Return what should serve everybody, and after it what else may where that is lost."""
    return list(dict.fromkeys([now.serving, *reversed(now.served)])) if now.serving else []


def _first(root: Path, model: str, versions: list[str]) -> Release | None:
    readable = (releases.on_disk(root, model, version) for version in versions)
    return next((release for release in readable if release is not None), None)
