"""What a house's broker is told of learned models. Without what learns: the supervisor needs none of it."""

from headwater.settings import Settings
from models.learning.releases import newest
from streams.events import Release
from streams.kafka import EventProducer
from streams.topics import RELEASES


class NotReleased(ConnectionError):
    """The broker did not take the event that tells of a release."""


def publish(settings: Settings, *releases: Release) -> None:
    """Tell of releases.

    Raises:
        NotReleased: the broker did not take it.
    """
    producer = EventProducer(settings.kafka)
    for release in releases:
        producer.send(RELEASES, release)
    if left := producer.close():
        written = ", ".join(f"{release.name} {release.version} in {release.uri}" for release in releases)
        raise NotReleased(f"written: {written}, but the broker did not take {left} of {len(releases)} events")


def announce(settings: Settings) -> list[str]:
    """Tell a broker that knows of none of the newest release of each model on disk; return which those are.

    Raises:
        NotReleased: the broker did not take it.
    """
    found = newest(settings.learning.releases)
    if found:
        publish(settings, *found)
    return [f"{release.name} {release.version}" for release in found]
