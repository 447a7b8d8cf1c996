"""Lets the library's maths be imported where little more than torch, numpy and pyarrow is installed, such as on a rented GPU.

Recipes, catalogs and stores are read by packages that such a machine does not have. A benchmark that makes its own data calls none of
them, but the modules that it does need import them on the way. Here each of them that is missing gets a stand-in: names that can be
imported, subclassed, called and used as decorators, and do nothing. Settings are the exception: they hold what they are given and their
fields' defaults, and are not validated. A package that is installed is used as it is.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGES = (
    "filelock", "fsspec", "price_parser", "pydantic", "rich", "safetensors", "selectolax", "tenacity", "tqdm", "typer", "xxhash", "yaml",
)  # fmt: skip
"""What the library's own packages import on the way."""

STOOD_IN_FOR: set[str] = set()
"""Those that this Python has not, as far as they were asked for."""


def stand_in_for_missing_packages() -> None:
    """Call it before anything of the library is imported."""
    sys.meta_path.append(_Finder())


class _Finder(MetaPathFinder, Loader):
    """Asked last, so only for what no other finder has found."""

    def find_spec(self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        package = fullname.partition(".")[0]
        if package not in PACKAGES:
            return None
        STOOD_IN_FOR.add(package)
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        known = {"BaseModel": _Settings, "Field": _field} if module.__name__ == "pydantic" else {}
        module.__getattr__ = lambda name: known.get(name, _Nothing) if not name.startswith("__") else _missing(name)


def _missing(name: str) -> Any:
    raise AttributeError(name)


class _Anything(type):
    """A class of which every attribute is there."""

    def __getattr__(cls, name: str) -> Any:
        return _missing(name) if name.startswith("__") else _Nothing


class _Nothing(metaclass=_Anything):
    """Stands for any class, function or decorator."""

    def __new__(cls, *given: Any, **_options: Any) -> Any:
        return given[0] if cls is _Nothing and callable(given[0] if given else None) else super().__new__(cls)

    def __init__(self, *given: Any, **options: Any) -> None:
        pass

    def __call__(self, *given: Any, **_options: Any) -> Any:
        return given[0] if given and callable(given[0]) else self

    def __getattr__(self, name: str) -> Any:
        return _missing(name) if name.startswith("__") else _Nothing()


class _Settings:
    """Stands for pydantic's BaseModel. Defaults are attributes of the class, and stay there."""

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    def __init_subclass__(cls, **options: Any) -> None:
        pass


def _field(default: Any = None, **options: Any) -> Any:
    """Stands for pydantic's Field: the default, which becomes the attribute of the class."""
    return options["default_factory"]() if "default_factory" in options else default
