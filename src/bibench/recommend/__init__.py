"""Which (operator, model) to deploy, from records."""

from bibench.recommend.advising import Sizes, in_order, recommend
from bibench.recommend.candidates import Advice, Candidate, Wishes, dominates

__all__ = ["Advice", "Candidate", "Sizes", "Wishes", "dominates", "in_order", "recommend"]
