"""What can be chosen of the protocol: whose ranking questions are from, which others they have, and how videos are told."""

from enum import StrEnum


class Finder(StrEnum):
    """Whose ranking the other videos of a question are from, and who is compared as the recommender."""

    SASREC_TITLES = "sasrec_titles"
    SASREC_IDS = "sasrec_ids"
    TWO_TOWERS = "two_towers"
    ITEM_KNN = "item_knn"
    TITLE_KNN = "title_knn"


class Negatives(StrEnum):
    """Which other videos a question has: the first of that ranking, or those around the wanted one."""

    FIRST = "first"
    AROUND = "around"


class Words(StrEnum):
    """In which words videos are told: their titles and what perception made of them, or titles alone."""

    PERCEIVED = "perceived"
    TITLES = "titles"
