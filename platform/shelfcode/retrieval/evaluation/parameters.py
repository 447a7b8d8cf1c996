"""How many parameters a retriever spends on telling products apart.

A retriever of atomic product IDs has a vector for each product, and a generator one for each codeword of each level:

    scoring model: products x width x tables        generator: codewords x width x tables

where tables counts the input and the output table, 1 where they are tied. The first grows with the catalog and the second does not, so
any ratio holds from some catalog size on.
"""

from collections.abc import Sequence

from shelfcode.reporting.figures import Figures

PUBLISHED_RATIO = 125
"""How many times fewer embedding parameters Instacart reports of its generator (2026)."""


class ParameterRatio(Figures):
    """The embedding parameters of a scoring model over those of a generator.

    Attributes:
        products, codewords: of the two.
        scoring_model, generator: embedding parameters.
        ratio: how many times as many the scoring model has.
        published_ratio_at: products from which on the ratio is PUBLISHED_RATIO or more, everything else being as it is.
    """

    products: int
    codewords: int
    scoring_model: int
    generator: int
    ratio: float
    published_ratio_at: int


def embedding_parameters(vectors: int, width: int, tables: int) -> int:
    """Parameters of the tables: one vector of this width in each of them."""
    return vectors * width * tables


def parameter_ratio(
    products: int,
    codebook_sizes: Sequence[int],
    scoring_width: int,
    generator_width: int,
    scoring_tables: int = 1,
    generator_tables: int = 2,
) -> ParameterRatio:
    """Compare the two.

    Args:
        codebook_sizes: codewords of each level.
        scoring_tables, generator_tables: input and output table, 1 where they are tied.

    Raises:
        ValueError: a number is not positive.
    """
    if min(products, scoring_width, generator_width, scoring_tables, generator_tables, *codebook_sizes, len(codebook_sizes)) < 1:
        raise ValueError("products, codebooks, widths and tables have to be 1 or more")
    scoring = embedding_parameters(products, scoring_width, scoring_tables)
    generator = embedding_parameters(sum(codebook_sizes), generator_width, generator_tables)
    at = -(-PUBLISHED_RATIO * generator // embedding_parameters(1, scoring_width, scoring_tables))
    return ParameterRatio(
        products=products, codewords=sum(codebook_sizes), scoring_model=scoring, generator=generator, ratio=scoring / generator,
        published_ratio_at=at,
    )  # fmt: skip
