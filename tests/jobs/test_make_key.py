"""A key is shown once, and surfaces.yaml gets what it needs of it."""

from collections.abc import Callable

import yaml
from running import Done

from shelfcode.serving.api.access import Gate
from shelfcode.serving.surface_settings import SurfaceSettings


def test_the_lines_that_it_prints_let_the_key_in(run_job: Callable[..., Done]) -> None:
    done = run_job("make_key", "--name", "search-team", "--surface", "search", "--column", "title", "--review", "lead")
    lines = yaml.safe_load(done.told[done.told.index("keys:") : done.told.index("and give the caller")])
    settings = SurfaceSettings.model_validate({"surfaces": {"search": "precision", "homepage": "discovery"}, "auth": "keys", **lines})
    caller = Gate.of(settings).caller(done.result["key"])
    assert (caller.name, caller.surfaces, caller.columns, caller.review) == ("search-team", ["search"], ["title"], "lead")
    assert done.result["key"] not in done.told


def test_no_two_keys_are_alike(run_job: Callable[..., Done]) -> None:
    keys = {run_job("make_key", "--name", "a").result["key"] for _ in range(3)}
    assert len(keys) == 3
    assert all(len(key) > 40 for key in keys)
