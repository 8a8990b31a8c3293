"""Whether the encoders are away, so that a flow's own thread waits for them once, and not again for each batch."""

from collections.abc import Sequence

from streams.events import Perception, Upload
from streams.ports import Perceiver, PerceptionUnavailable


class Reachable:
    """A `Perceiver` that remembers whether its last request found the encoders away."""

    def __init__(self, perceiver: Perceiver) -> None:
        self.model_version = perceiver.model_version
        self.away = False
        self._perceiver = perceiver

    def titles(self, uploads: Sequence[Upload]) -> list[Perception]:
        """Return one perception of stage "title" for each upload, in order; PerceptionUnavailable is transient."""
        try:
            perceived = self._perceiver.titles(uploads)
        except PerceptionUnavailable:
            self.away = True
            raise
        self.away = False
        return perceived

    def titles_at_once(self, uploads: Sequence[Upload]) -> Sequence[Perception | None]:
        """Return perceptions as `titles`, or None for each where the encoders are away.

        While they are known to be away they are not asked: a request to a server that hangs takes seconds, in which no takedown
        is carried out. The videos are tried again one by one, on worker threads, and the first that succeeds ends this.
        """
        if not uploads or self.away:
            return [None] * len(uploads)
        try:
            return self.titles(uploads)
        except PerceptionUnavailable:
            return [None] * len(uploads)

    def frames(self, upload: Upload) -> Perception:
        """Return a perception of stage "frames". Blocks for seconds; raises BadMedia or PerceptionUnavailable."""
        return self._perceiver.frames(upload)
