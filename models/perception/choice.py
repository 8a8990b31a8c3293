"""Who understands is configuration: a language model behind an address, or the words and names themselves."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from models.perception.chat import ChatUnderstanding
from models.perception.encoders import TextEncoder
from models.perception.plain import PlainUnderstanding
from models.perception.understanding import Understanding
from models.settings import LOCAL, UnderstandingSettings


@contextmanager
def understood_by(settings: UnderstandingSettings, encoder: TextEncoder) -> Iterator[Understanding]:
    """Yield who writes what a viewer would care about.

    Raises:
        ConnectionError: it is to be the local stack's language model, and no stack that runs has one.
    """
    if settings.url == LOCAL:
        raise ConnectionError(
            f"expected a running stack with a language model, got none (understanding.url is {LOCAL!r}): "
            "start `headwater up` with the same setting, or set the address of a server"
        )
    if not settings.url:
        yield PlainUnderstanding(encoder)
        return
    with closing(ChatUnderstanding(settings)) as understanding:
        yield understanding
