"""When a product counts as sparse, how that is learnt, and when neighbours agree on what it lacks."""

from pydantic import Field

from shelfcode.settings import Positive, Settings


class SparseSettings(Settings):
    """What decides which products are sparse, and what is filled in."""

    threshold: float = Field(0.2, gt=0, lt=1, description="chance that one more sentence changes L1, above which a product is sparse")
    rich_sentences: Positive = Field(3, description="sentences of a description that make a product rich; its text is cut to learn from")
    most_sentences: Positive = Field(6, description="the longest text that is learnt from, in sentences of the description")
    rich_products: Positive = Field(1500, description="rich products whose texts are cut, drawn by the hash of their item_id")
    least_agreeing: Positive = Field(3, description="products with one prefix and one value, before that value is filled in")
    agreement: float = Field(0.8, gt=0.5, le=1, description="share of a prefix's products with a value that have this one")
    depths: list[Positive] = Field([4, 3], min_length=1, description="depths of the prefixes that are asked, the first that agrees wins")
    say_leaf: bool = Field(True, description="whether the enriched text of a sparse product says the leaf of its own category path")
    seed: int = Field(0, description="of what is drawn")
