"""Who the simulated audience is, and how fast it goes."""

from pydantic import BaseModel, Field


class AudienceSettings(BaseModel):
    """Options of the simulated audience: `headwater demo` runs it, and its events count like any viewer's."""

    viewers: int = Field(40, ge=1, description="how many simulated viewers there are")
    seed: int = Field(7, ge=0, description="the same seed draws the same viewers with the same tastes")
    pages_per_s: float = Field(2.0, gt=0, description="pages all viewers together ask for; each brings up to 40 interactions")
    page_size: int = Field(10, ge=1, le=50, description="videos a page")
    instructions: bool = Field(True, description="whether a bored viewer says in words what it wants")
