"""Attributes from an LLM while a surface waits: one vLLM engine in the process, its answers read and grounded as the batch job does."""

import asyncio
from collections.abc import Sequence
from typing import Any

from shelfcode.attributes.prompt import extraction_budget, product_prompt
from shelfcode.attributes.schema import json_schema
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.attributes.table import attributes_rows, read_outcome
from shelfcode.errors import ShelfcodeError
from shelfcode.llm.engine import Engine
from shelfcode.llm.prompt import load_tokenizer
from shelfcode.serving.api.questions import ProductInput


class OnlineExtractor:
    """An engine that answers products as they come; it batches by itself."""

    def __init__(self, settings: ExtractorSettings) -> None:
        """Start the engine: half a minute.

        Raises:
            ShelfcodeError: vLLM is not installed, or the model cannot be found or run.
        """
        self.settings, self.tokenizer = settings, load_tokenizer(settings)
        self.budget, self.schema = extraction_budget(settings, self.tokenizer), json_schema(settings.attributes, settings.asks_for_quotes)
        try:
            self.engine = Engine(settings, self.budget)
        except ImportError as error:
            raise ShelfcodeError(f"online_extraction.engine vllm: vLLM cannot be imported ({error}); install it, or use rules") from error

    async def extract(self, products: Sequence[ProductInput]) -> list[dict[str, Any] | None]:
        """Columns of an attributes table for each product; None where the model gave no usable answer.

        Cancelling it ends the products' requests in the engine.
        """
        return list(await asyncio.gather(*(self._attributes(product) for product in products)))

    async def _attributes(self, product: ProductInput) -> dict[str, Any] | None:
        extra, quotes = self.settings.attributes, self.settings.asks_for_quotes
        text = {"title": product.title or "", "description": product.description, "brand": product.brand}
        prompt = product_prompt(self.tokenizer, product.title or "", product.description, product.brand, extra, self.budget.text, quotes)
        answer = await self.engine.ask(prompt.tokens, self.schema, self.settings.max_output_tokens)
        outcome = read_outcome(answer.text, None, prompt.truncated, extra)
        if outcome.attributes is None:
            return None
        row = {"item_id": "", "text_hash": "", **text}
        return dict(attributes_rows([row], [outcome], "", extra, self.settings.grounding, quotes).to_pylist()[0])
