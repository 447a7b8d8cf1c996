"""Products -> semantic IDs, online: the releases of one flavor in the memory of one process. Plain class, no Ray."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from cachetools import LRUCache

from shelfcode.attributes.grounding import ground_product
from shelfcode.attributes.rules.extractor import by_rules
from shelfcode.attributes.schema import Attributes, attributes_of, attributes_text, clean_attributes
from shelfcode.embedding.encoder import TextEncoder, encoder_name, load_encoder
from shelfcode.embedding.settings import TextViewSettings
from shelfcode.embedding.text_view import raw_texts
from shelfcode.flavor import Recipe
from shelfcode.hardware import torch_device
from shelfcode.quantization.model_file import load_model
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.releases.release import load_manifest, release_recipe
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import AttributesFrom, Encoded, ProductInput
from shelfcode.text import cut
from shelfcode.workspace import Workspace

SPARSE_WORDS = 3
"""A text of fewer words says too little to place a product well."""


@dataclass(frozen=True)
class LoadedRelease:
    """A release that can encode."""

    recipe: Recipe
    encoder: TextEncoder
    quantizer: RQVAE


class FlavorEncoder:
    """Encodes with any release of a flavor. The releases used last stay loaded; those with the same encoder share it.

    Args:
        overrides: `key=value`, how the encoder is run here.
        load_encoder: recipe, workspace -> the encoder of its text view.
    """

    def __init__(
        self,
        workspace: Workspace,
        overrides: Sequence[str],
        releases_kept: int,
        load_encoder: Callable[[Recipe, Workspace], TextEncoder] | None = None,
    ) -> None:
        self.workspace, self.overrides, self.load_encoder = workspace, overrides, load_encoder or load_text_encoder
        self.releases: LRUCache[str, LoadedRelease] = LRUCache(releases_kept)

    def load(self, release: str) -> LoadedRelease:
        """A release, from memory or from the workspace.

        Raises:
            ShelfcodeError: there is none of this name, its files are damaged, or its encoder cannot be had.
        """
        loaded = self.releases.get(release)
        if loaded is None:
            manifest = load_manifest(self.workspace, release)
            recipe = release_recipe(manifest, self.overrides)
            device = torch_device(recipe.encoder.chosen_device, "encoder.gpus_per_actor")
            loaded = LoadedRelease(recipe, self._encoder(recipe), load_model(self.workspace, manifest.folder, recipe, device))
            self.releases[release] = loaded
        return loaded

    def encode(self, release: str, products: Sequence[ProductInput]) -> list[Encoded | Problem]:
        """The codes of each product, or what is wrong with it, in their order.

        Raises:
            ShelfcodeError: as `load`.
        """
        loaded = self.load(release)
        texts = [product_text(product, loaded.recipe) for product in products]
        coded = iter(_encode([text for text in texts if isinstance(text, ProductText)], loaded))
        return [text if isinstance(text, Problem) else next(coded) for text in texts]

    def _encoder(self, recipe: Recipe) -> TextEncoder:
        name = encoder_name(recipe.encoder, recipe.text_view)
        for other in self.releases.values():
            if encoder_name(other.recipe.encoder, other.recipe.text_view) == name:
                return other.encoder
        return self.load_encoder(recipe, self.workspace)


def load_text_encoder(recipe: Recipe, workspace: Workspace) -> TextEncoder:
    """The encoder of a recipe, run by the engine that it names.

    Raises:
        ShelfcodeError: the model cannot be found or run.
    """
    return load_encoder(recipe.encoder, workspace)


@dataclass(frozen=True)
class ProductText:
    """The text of a product that is embedded, and how it came about."""

    text: str
    warnings: tuple[str, ...]
    attributes_from: AttributesFrom | None


def product_text(product: ProductInput, recipe: Recipe) -> ProductText | Problem:
    """The text view of a product, as the batch jobs make it, or why there is none."""
    text = _attributes_text(product, recipe) if recipe.text_view.kind == "attributes" else _raw_text(product, recipe.text_view)
    if isinstance(text, Problem) or len(text.text.split()) >= SPARSE_WORDS:
        return text
    return replace(text, warnings=(*text.warnings, "sparse_text"))


def _raw_text(product: ProductInput, settings: TextViewSettings) -> ProductText | Problem:
    columns = {name: pa.array([getattr(product, name)], pa.string()) for name in settings.columns}
    text = raw_texts(pa.table(columns), settings)[0]
    if not text.strip():
        return Problem("invalid-product", f"nothing to encode: {', '.join(settings.columns)} are missing or empty")
    whole = raw_texts(pa.table(columns), settings.model_copy(update={"max_characters": sys.maxsize}))[0]
    return ProductText(text, ("truncated",) if len(text) < len(whole) else (), None)


def _attributes_text(product: ProductInput, recipe: Recipe) -> ProductText | Problem:
    if product.attributes is None and not product.title:
        return Problem("invalid-product", "title is missing, and neither the request nor the store has attributes of the product")
    attributes, source = _attributes(product, recipe)
    whole = attributes_text(attributes, recipe.text_view.attributes)
    text = cut(whole, recipe.text_view.max_characters)
    if not text.strip():
        return Problem("invalid-product", f"nothing to encode: {', '.join(recipe.text_view.attributes)} are empty")
    known = attributes.key_ingredients or attributes.dietary_tags or attributes.format or any(attributes.extra.values())
    warnings = {"no_attributes": not known, "truncated": len(text) < len(whole)}
    return ProductText(text, tuple(warning for warning, holds in warnings.items() if holds), source)


def _attributes(product: ProductInput, recipe: Recipe) -> tuple[Attributes, AttributesFrom]:
    extra = recipe.extractor.attributes
    if product.attributes is not None:
        source = product.attributes_from or "request"
        return (clean_attributes if source == "request" else attributes_of)(product.attributes, extra), source
    columns = {"title": product.title, "description": product.description, "brand": product.brand}
    return ground_product(by_rules(columns, extra), columns, recipe.extractor.grounding).attributes, "rules"


def _encode(products: Sequence[ProductText], loaded: LoadedRelease) -> list[Encoded | Problem]:
    if not products:
        return []
    texts = [product.text for product in products]
    x_NE = loaded.encoder.embed(texts)
    device = loaded.quantizer.codebooks.codewords(0).device
    codes_NL, margin_NL = loaded.quantizer.encode_with_margins(torch.tensor(np.nan_to_num(x_NE), device=device))
    rows = zip(products, x_NE, codes_NL.tolist(), margin_NL.tolist(), loaded.encoder.cuts(texts), strict=True)
    return [
        _encoded(product, codes, margins, cut_off) if np.isfinite(x_E).all() else Problem("invalid-product", "its embedding is not finite")
        for product, x_E, codes, margins, cut_off in rows
    ]


def _encoded(product: ProductText, codes: list[int], margins: list[float], cut_off: bool) -> Encoded:
    warnings = dict.fromkeys([*product.warnings, *(["truncated"] if cut_off else [])])
    return Encoded(tuple(codes), tuple(round(margin, 4) for margin in margins), tuple(warnings), product.attributes_from)
