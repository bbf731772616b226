# Each verb sets up what it needs. Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= dpsynth-demo

.PHONY: help demo test check docs bench peers mutants evidence clean

help:
	@echo "make demo      the main job on real data: a release folder, and a refusal (OUT=folder)"
	@echo "make test      all tests"
	@echo "make check     lint, format, types, import rules"
	@echo "make docs      the API reference as HTML, in docs/_build"
	@echo "make mutants   break every guard of the trust kernel and the accounting in turn: a test must fail (ONLY=\"NAME ...\")"
	@echo "make evidence  what docs and certificates rest on, made anew: an hour (mutants, accountants, audits, faults, throughput)"
	@echo "make bench     workload error of the generators (needs the benchmark tables, see experiments/README.md)"
	@echo "make peers     other libraries to compare with, in .peers (experiments/README.md says how)"

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

# Not compiled: most of what PyTorch and others bring is never imported.
$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/dpsynth demo --out $(OUT)

# Each worker has a core of its own: threads of libraries would only wait for each other.
test: export OMP_NUM_THREADS ?= 1
test: $(VENV)/.dev
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	$(BIN)/pdoc --docformat google -o docs/_build dpsynth accountants '!dpsynth.testing'

bench: $(VENV)/.dev
	$(BIN)/python experiments/benchmark.py --epsilons 0.1 1 10 --seeds 5
	$(BIN)/python experiments/benchmark.py --figures

# Other libraries, each in an environment of its own: what they pin excludes ours, and each other's.
peers: .peers/dpmm/.made .peers/smartnoise/.made

.peers/dpmm/.made:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet dpmm==0.1.9 torch==2.13.0 pyarrow==14.0.2
	@touch $@

.peers/smartnoise/.made:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet smartnoise-synth==1.0.8 packaging torch==2.13.0 pyarrow
	@touch $@

mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants $(if $(ONLY),--only $(ONLY))

# Committed pages and results that a run writes anew: what is too slow for the tests.
evidence: mutants
	$(BIN)/python experiments/accounting.py
	$(BIN)/python experiments/audits.py --out experiments/results/audits.tsv
	$(BIN)/python experiments/canaries.py --out experiments/results/canaries.tsv
	$(BIN)/python experiments/ledger_faults.py --out experiments/results/ledger_faults.tsv
	$(BIN)/python experiments/ledger_throughput.py --out experiments/results/ledger_throughput.tsv

clean:
	rm -rf $(VENV) docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
