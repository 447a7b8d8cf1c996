"""Settings of an audit."""

from typing import Annotated

from pydantic import Field

from shelfcode.audit.scoring.settings import ScoringSettings
from shelfcode.settings import RUNS, Positive, Settings

Share = Annotated[float, Field(ge=0, le=1)]


class AuditSettings(Settings):
    """What becomes a finding, and what a reviewer is shown of it."""

    p_min: Share = Field(0.05, description="a label that is wrong with at least this probability is a finding")
    share_min: Share = Field(0.3, description="so much of the labelled products are findings in any case, the likeliest wrong ones")
    label_products: Positive = Field(
        3, description="a label that fewer products have is not judged: hardly any other product could tell what belongs under it"
    )
    placeholder_p: Share = Field(
        0.3,
        description="a product whose path says nothing (scoring.no_leaf_names) is a finding where a suggestion is this likely",
    )
    shallow_p: Share = Field(0.5, description="a label is too shallow where the paths below it are at least so likely, taken together")
    same_cosine: Share = Field(0.98, description="products whose embeddings are at least so near are the same; so are those of one title")
    outlier_p: Share = Field(0.3, description="a product fits nowhere where no path is likelier, and its nearest ones are far")
    sparse_words: Positive = Field(3, description="a text of fewer words says too little where no path is likely either")
    prefix_products: Positive = Field(10, description="the evidence speaks of the longest prefix that holds so many products")
    pattern_products: Positive = Field(3, description="so many findings that say the same are a pattern")
    pattern_p: Share = Field(0.3, description="patterns hold findings with at least this probability")
    overlap: Share = Field(
        0.2, description="two categories overlap where each has so much of its products' probability in the other; more is worse"
    )
    incoherent: Share = Field(
        0.35, description="a category that its products fit less than this on average, and no other one, is incoherent"
    )
    image_column: str | None = Field(None, description="column with the URL of an image; null: `image` or `image_url`, where there is one")
    popularity_column: str | None = Field(None, description="column of numbers; null: `popularity`, where there is one. More is worth more")
    scoring: ScoringSettings = Field(ScoringSettings(), description="which products the audit learns from, and how")
    fit_cpus: Positive = Field(2, description="CPUs of the task that fits the audit", json_schema_extra=RUNS)
