"""How the two towers are made and trained: what they know of a video, their size, and the schedule."""

from dataclasses import dataclass, replace

# Watches of a viewer that the viewer tower sees: a longer history is mostly of tastes gone by.
HISTORY = 50
# Steps of an epoch, where there are enough watches: with the batches of a large log, a small one would be left after a few.
STEPS = 64
LEAST_PLACES = 256


@dataclass(frozen=True)
class Recipe:
    """The parts of a video's vector, what is known of a watch, and how both towers learn. The default is what serves.

    Of a video the towers may know its title (`titles`, its embedding; `terms`, groups of its words; `codes`, semantic ids),
    when it appeared (`appearance`), and what its watches tell (`ids`, `neighbours`): a new video has all but the last two.
    Of a watch the viewer tower may know, beside the video, the interest that was shown (`actions`) and how long after the one
    before it was (`gaps`).
    """

    titles: bool = True
    terms: tuple[str, ...] = ("words", "pairs")
    # Levels of semantic ids: beside words they found nothing more on MicroLens; where titles are poor they may.
    codes: int = 0
    appearance: bool = True
    ids: bool = True
    neighbours: bool = True
    # Neither is shown to find more, on MovieLens or MicroLens (docs/ranking.md); a house's own log may have more to say.
    actions: bool = False
    gaps: bool = False
    width: int = 256
    blocks: int = 1
    heads: int = 2
    dropout: float = 0.2
    title_dropout: float = 0.1
    # How often training sees a watched video as if it were new: less, and a new one is a stranger to the viewer tower.
    id_dropout: float = 0.3
    # An id weighs n / (n + shrinkage) after n watches: what one viewer did says little of the next.
    shrinkage: float = 3.0
    # Over the root of n: when a video of one watch appeared is hardly known.
    appearance_jitter: float = 0.05
    appearance_dropout: float = 0.05
    # Temperature of cosines as scores; 0 scores by the dot product.
    temperature: float = 0.0
    # What popularity explains, the vectors need not (logit adjustment, Menon et al. 2021); less helps the head, more the tail.
    prior: float = 0.5
    # Weight of the watch after the next: order within minutes is half chance.
    second_next: float = 0.4
    learning_rate: float = 1e-3
    weight_decay: float = 3.0
    # A short schedule that ends at zero: by a longer one the ids overfit.
    epochs: int = 12
    warm_up: int = 200
    # Share of the average of weights that stays at each step; 0 averages nothing.
    averaging: float = 0.0
    # Places of a batch, watches of whoever comes.
    places: int = 4096
    # Videos drawn for each step's softmax beside those wanted; None: all, which costs twice the time.
    negatives: int | None = None
    seed: int = 0

    def sized(self, watches: int) -> "Recipe":
        """Return the recipe for a log of so many watches: with batches no larger than let an epoch take its steps."""
        return replace(self, places=min(self.places, max(LEAST_PLACES, watches // STEPS // LEAST_PLACES * LEAST_PLACES)))


# SASRec (Kang and McAuley 2018) by the same code, each tuned on its own: without and with titles.
SASREC_IDS = Recipe(
    titles=False, terms=(), appearance=False, neighbours=False, actions=False, gaps=False, blocks=2, dropout=0.5,
    id_dropout=0.0, shrinkage=0.0, temperature=0.07, prior=0.0, learning_rate=2e-3, epochs=22, averaging=0.99,
)  # fmt: skip
SASREC_TITLES = Recipe(
    terms=(), appearance=False, neighbours=False, actions=False, gaps=False, dropout=0.4, title_dropout=0.0, id_dropout=0.0,
    shrinkage=0.0, temperature=0.07, prior=0.0, epochs=16, averaging=0.99,
)  # fmt: skip
