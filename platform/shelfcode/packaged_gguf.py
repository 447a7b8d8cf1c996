"""A model that a Python package carries as one GGUF file, as a folder that transformers and vLLM load: converted once a machine.

Such packages are made for llama.cpp, and importing them wants it. Nothing of the package is imported here: only its file is read.
"""

import copy
import importlib.util
from pathlib import Path
from typing import Any

from shelfcode.errors import ShelfcodeError
from shelfcode.scratch import made_once


def packaged_gguf(package: str) -> Path | None:
    """The one GGUF file that a package carries; None where there is no such package, or it carries none or several."""
    found = importlib.util.find_spec(package)
    places = list(found.submodule_search_locations or ()) if found else []
    files = [file for place in places for file in sorted(Path(place).glob("*.gguf"))]
    return files[0] if len(files) == 1 else None


def converted(file: Path) -> Path:
    """The folder of a GGUF file's model: weights in float32 as safetensors, configuration, tokenizer and chat template.

    Raises:
        ShelfcodeError: the libraries that read such files are not installed, or the file cannot be read.
    """
    return made_once(f"{file.stem.lower()}-{file.stat().st_size}", lambda folder: _convert(file, folder))


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise ShelfcodeError(f"{file.name} is read by packages that are not installed: pip install {' '.join(missing)}")
    try:
        quantized = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (OSError, ValueError, RuntimeError) as error:
        raise ShelfcodeError(f"{file} cannot be read: {str(error).strip().splitlines()[0]}") from error
    config: Any = copy.deepcopy(quantized.config)
    if hasattr(config, "quantization_config"):  # the weights are plain numbers by now, and saving refuses what still says otherwise
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(quantized.state_dict())
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
