"""Who understands is configuration: a language model behind an address, or the words and names themselves."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from models.perception.chat import ChatUnderstanding
from models.perception.encoders import TextEncoder
from models.perception.plain import PlainUnderstanding
from models.perception.understanding import Understanding
from models.settings import UnderstandingSettings


@contextmanager
def understood_by(settings: UnderstandingSettings, encoder: TextEncoder) -> Iterator[Understanding]:
    """Yield who writes what a viewer would care about."""
    if not settings.url:
        yield PlainUnderstanding(encoder)
        return
    with closing(ChatUnderstanding(settings)) as understanding:
        yield understanding
