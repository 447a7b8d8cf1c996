"""Attributes from an LLM while a surface waits: one vLLM engine in the process, its answers read and grounded as the batch job does."""

import asyncio
import itertools
import json
import os
from collections.abc import Sequence
from typing import Any

from shelfcode.attributes.extractor import load_tokenizer
from shelfcode.attributes.outcomes import attributes_rows, read_outcome
from shelfcode.attributes.requests import engine_arguments, engine_environment, sampling_parameters, share_out, write_prompt
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.model_source import model_path
from shelfcode.serving.api.questions import ProductInput


class OnlineExtractor:
    """An engine that answers products as they come; it batches by itself."""

    def __init__(self, settings: ExtractorSettings) -> None:
        """Start the engine: half a minute.

        Raises:
            ShelfcodeError: vLLM is not installed, or the model cannot be found or run.
        """
        self.settings, self.room, self.tokenizer = settings, share_out(settings), load_tokenizer(settings)
        os.environ.update(engine_environment(settings))
        try:
            from vllm import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise ShelfcodeError(f"online_extraction.engine vllm: vLLM cannot be imported ({error}); install it, or use rules") from error
        arguments = engine_arguments(settings, self.room)
        try:
            self.engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=model_path("extractor.model", settings.model), **arguments))
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ShelfcodeError(f"extractor.model {settings.model!r} cannot be run by vLLM: {reason}") from error
        self.numbers = itertools.count()

    async def extract(self, products: Sequence[ProductInput]) -> list[dict[str, Any] | None]:
        """Columns of an attributes table for each product; None where the model gave no usable answer.

        Cancelling it ends the products' requests in the engine.
        """
        return list(await asyncio.gather(*(self._attributes(product) for product in products)))

    async def _attributes(self, product: ProductInput) -> dict[str, Any] | None:
        own = self.settings.attributes
        text = {"title": product.title or "", "description": product.description, "brand": product.brand}
        prompt = write_prompt(self.tokenizer, text["title"] or "", product.description, product.brand, own, self.room.text)
        outcome = read_outcome(await self._answer(prompt.tokens), None, prompt.truncated, own)
        if outcome.attributes is None:
            return None
        return dict(attributes_rows([{"item_id": "", "text_hash": "", **text}], [outcome], "", own).to_pylist()[0])

    async def _answer(self, tokens: list[int]) -> str:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        given = sampling_parameters(self.settings.attributes, self.settings.max_output_tokens)
        held = StructuredOutputsParams(json=json.loads(given.pop("structured_outputs")["json"]))
        answer = ""
        request = f"online-{next(self.numbers)}"
        async for output in self.engine.generate({"prompt_token_ids": tokens}, SamplingParams(**given, structured_outputs=held), request):
            answer = output.outputs[0].text
        return answer
