"""How labels are scored."""

from pydantic import Field

from shelfcode.settings import Positive, Settings


class NetworkSettings(Settings):
    """A small network from what a product is to its leaf."""

    hidden: Positive = Field(description="units between what goes in and the leaves")
    epochs: Positive = Field(description="how often each product is shown, per fold")
    batch_size: Positive = Field(description="products a step; fewer where that makes less than 35 steps an epoch")
    learning_rate: float = Field(gt=0, description="its highest value; it rises, then falls to zero")
    dropout: float = Field(ge=0, lt=1, description="share of hidden units left out in a step")


class ScoringSettings(Settings):
    """Which products the audit learns from, and how."""

    fit_products: Positive = Field(
        100_000, description="products that the audit is fitted to, drawn from a larger catalog; all products are scored"
    )
    fit_per_leaf: Positive = Field(30, description="products of each leaf, as long as it has them, that are always among them")
    folds: int = Field(4, ge=2, le=16, description="parts of the catalog; each is judged by what was learnt from the others")
    seed: int = Field(0, ge=0, description="of every random draw")
    no_leaf_names: list[str] = Field(
        ["missing", "other", "unknown", "uncategorized", "miscellaneous"],
        description="leaves that say nothing: neither learnt from nor suggested",
    )
    embedding_network: NetworkSettings = Field(
        NetworkSettings(hidden=256, epochs=6, batch_size=512, learning_rate=3e-3, dropout=0.3), description="of the view of the embedding"
    )
    words: bool = Field(True, description="whether the words of the text are a view of their own")
    words_network: NetworkSettings = Field(
        NetworkSettings(hidden=128, epochs=5, batch_size=1024, learning_rate=6e-3, dropout=0.4), description="of the view of the words"
    )
    gram_buckets: Positive = Field(131_072, description="words and pieces of words are hashed to so many numbers")
    gram_characters: Positive = Field(200, description="of a text's beginning that are read as words")
    neighbours: int = Field(20, ge=1, description="nearest products that are asked")
    neighbour_width: float = Field(0.06, gt=0, description="how fast a neighbour's weight falls with its cosine, in cosines")
    prefix_strength: float = Field(4.0, gt=0, description="a prefix's own products weigh as much as its parent when there are so many")
    ranker_trees: Positive = Field(120, description="trees of each ranker")
    ranker_draws: Positive = Field(3, description="draws of counterfactual labels, and rankers, of which the mean is taken")
    ranker_products: Positive = Field(60_000, description="products that the ranker is trained on at the most")
