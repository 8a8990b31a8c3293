"""The flows by name; headwater/wiring.py builds them."""

from typing import Literal, get_args

FlowName = Literal["perceive", "profile", "rerank", "feedback"]
FLOWS: tuple[FlowName, ...] = get_args(FlowName)
