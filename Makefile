# make demo   the whole story in a terminal, without a cluster
# make test   the tests; under five minutes
# make lint   ruff, mypy, import-linter, codespell; the workflows
# make e2e    the same operator against a real kube-apiserver (KUBEBUILDER_ASSETS, or /usr/local/kubebuilder/bin)
# make cluster-test CONTEXT=kind-approver   install in a whole cluster, try everything, and remove it again
# make soak   the simulation with faults, for as long as asked: ARGS="--steps 1000000", "--minutes 30", "--seed 7 --trace"
# make bench  figures, printed
# make chart  dist/pipeline-approver-<version>.tgz: the Helm chart, with the definition of Pipeline
# make lock   resolve the dependencies anew

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The locks are whole, so there is nothing to resolve. What is used is compiled when it is used, and kept: the tests start
# hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=
LOCKED := --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile
TOOLS := $(VENV)/.tools

.PHONY: demo test lint format e2e cluster-test soak bench chart lock clean

demo: $(READY)
	@$(BIN)/python -m pipeline_approver.sandbox.demo

# Each worker has servers of its own; most of the time is spent waiting for processes.
JOBS ?= $(shell expr $$(nproc) + 3)
test: $(TOOLS)
	$(BIN)/pytest -m "not e2e" --numprocesses $(JOBS) --dist worksteal $(ARGS)

e2e: $(TOOLS)
	$(BIN)/pytest -m e2e $(ARGS)

CONTEXT ?= kind-approver
cluster-test: $(TOOLS)
	CLUSTER_CONTEXT=$(CONTEXT) $(BIN)/pytest tests/cluster $(ARGS)

# One operator or several in virtual time, with everything going wrong; until interrupted, or as ARGS say: see tests/simulation.
soak: $(TOOLS)
	PYTHONPATH=tests $(BIN)/python -m simulation $(ARGS)

bench: $(READY)
	$(BIN)/python -m tests.bench $(ARGS)

lint: $(TOOLS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --quiet --offline .github

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# An archive is the chart's folder; the definition of Pipeline is laid in, so that there is one copy of it in the repository.
CHART = pipeline-approver-$(shell sed -n 's/^version: //p' deploy/chart/Chart.yaml).tgz
BUILD ?= build
DIST ?= dist
chart:
	@rm -rf $(BUILD)/chart && mkdir -p $(BUILD)/chart $(DIST)
	@cp -R deploy/chart $(BUILD)/chart/pipeline-approver
	@rm -f $(BUILD)/chart/pipeline-approver/files/*/kustomization.yaml $(BUILD)/chart/pipeline-approver/files/*/*_test.yaml
	@mkdir $(BUILD)/chart/pipeline-approver/crds && cp crds/pipelines.yaml $(BUILD)/chart/pipeline-approver/crds/
	@tar -C $(BUILD)/chart -czf $(DIST)/$(CHART) pipeline-approver
	@echo $(DIST)/$(CHART)

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
	  pyproject.toml -o deploy/requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
	  --extra sandbox --group dev pyproject.toml -c deploy/requirements.txt -o tests/requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
	  --group tools -c tests/requirements.txt -o tests/tools.txt

$(READY): pyproject.toml tests/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'make: Python 3.11 or newer is needed; name one with PYTHON=…' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo 'make: no virtual environment could be made; on Debian: apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/pip install $(LOCKED) -r tests/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# What `make demo` does without.
$(TOOLS): $(READY) tests/tools.txt
	$(BIN)/pip install $(LOCKED) -r tests/tools.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
