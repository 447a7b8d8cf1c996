"""Where a model comes from: a Python package that contains it, a folder, or the model hub.

A workspace keeps models, too: published_model.py.
"""

import hashlib
import importlib
import re
from collections.abc import Mapping
from pathlib import Path

from shelfcode.errors import ShelfcodeError
from shelfcode.packaged_gguf import converted, packaged_gguf

PACKAGE = "package:"
WORKSPACE = "workspace:"
SPEED_ARGUMENTS = frozenset(
    {
        "block_size", "cpu_offload_gb", "disable_log_stats", "distributed_executor_backend", "download_dir", "enable_chunked_prefill",
        "enable_prefix_caching", "enforce_eager", "gpu_memory_utilization", "max_num_batched_tokens", "max_num_seqs",
        "max_parallel_loading_workers", "pipeline_parallel_size", "swap_space", "trust_remote_code",
    }
)  # fmt: skip
"""Arguments of vLLM's engine that do not change a model's outputs. Any other (quantization, hf_overrides, ...) may change them."""


def model_path(field: str, model: str) -> str:
    """Folder or hub name of a model.

    Args:
        field: the recipe's field that names the model, for messages.
        model: package:NAME, a folder, or a name on the hub. A package either says where its model is (`get_model_path()`), or carries
            one GGUF file, which is converted.

    Raises:
        ShelfcodeError: the package is not installed or contains no model, or the model is one of a workspace.
    """
    if model.startswith(WORKSPACE):
        raise ShelfcodeError(f"{field} {model!r}: a workspace's model cannot be named here; name a folder, a hub model, or package:NAME")
    if not model.startswith(PACKAGE):
        return model
    name = model.removeprefix(PACKAGE)
    if file := packaged_gguf(name.replace("-", "_")):
        return str(converted(file))
    try:
        return str(importlib.import_module(name.replace("-", "_")).get_model_path())
    except ImportError as error:
        raise ShelfcodeError(f"{field} {model!r}: the package {name} is not installed") from error
    except AttributeError as error:
        raise ShelfcodeError(f"{field} {model!r}: the package {name} carries no model") from error


def readable_name(model: str) -> str:
    """The last part of a model's name, in characters that suit the name of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", Path(model.removeprefix(PACKAGE)).name.lower()).strip("-")


def telling_arguments(engine_arguments: Mapping[str, object]) -> dict[str, object]:
    """The arguments of a vLLM engine that may change its model's outputs, sorted."""
    return {name: value for name, value in sorted(engine_arguments.items()) if name not in SPEED_ARGUMENTS}


def content_digest(folder: Path) -> str:
    """Hash of all files in a folder, which tells models apart that were saved under one path. Python files do not count."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts):
        with path.open("rb") as file:
            digest.update(f"{path.relative_to(folder)}\0".encode() + hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()
