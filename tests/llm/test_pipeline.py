"""An engine that dies is started again, but not for ever, and what it said last is what the user reads.

The engine here is a class that dies as vLLM's does; a real one is killed in tests/attributes/test_small_extractor.py.
"""

import os
import sys
from typing import Any

import pyarrow as pa
import pytest
import ray.data

from shelfcode.errors import ShelfcodeError
from shelfcode.llm.pipeline import engines, watched
from shelfcode.llm.settings import ModelSettings


@pytest.fixture(scope="module")
def dying() -> type[Any]:
    """An engine that answers its first batch, and whose own process is dead at the second; the actor then ends itself."""

    class EngineDeadError(Exception):
        pass

    class Wrapper:
        asked = 0

        async def generate_async(self, row: dict[str, Any]) -> dict[str, Any]:
            self.asked += 1
            if self.asked > 1:
                print("(EngineCore pid=7) ERROR 11-28 [core.py:9] RuntimeError: no room for the cache", file=sys.stderr, flush=True)
                raise EngineDeadError("EngineCore encountered an issue. See stack trace (above) for the root cause.")
            return row

    class vLLMEngineStageUDF:  # noqa: N801
        def __init__(self) -> None:
            self.llm = Wrapper()

        async def __call__(self, batch: pa.Table) -> Any:
            try:
                await self.llm.generate_async({})
            except EngineDeadError:
                os._exit(1)
            yield batch

    return vLLMEngineStageUDF


@pytest.mark.parametrize(("one", "all_"), [(1, 99), (99, 1)], ids=["per engine", "in all"])
def test_an_engine_that_always_dies_after_its_first_batch_ends_the_job_with_its_last_words(
    local_ray: None, dying: type[Any], one: int, all_: int
) -> None:
    settings = ModelSettings(restarts_per_engine=one, restarts_in_all=all_)

    def ask() -> None:
        with engines(settings, "See the hint."):
            pool = ray.data.ActorPoolStrategy(size=1)
            rows = ray.data.range(40, override_num_blocks=40).map_batches(
                watched(dying, settings), batch_size=1, batch_format="pyarrow", compute=pool, max_restarts=one
            )
            rows.materialize()

    with pytest.raises(ShelfcodeError) as stopped:
        ask()
    message = str(stopped.value)
    assert f"the model's engines died {2 if one == 1 else 3} times, and model.restarts_per_engine {one}" in message
    assert "The last one said: RuntimeError: no room for the cache." in message
    assert message.endswith("See the hint.")
