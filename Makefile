# Each target makes the environment it needs from `python3` and remakes it when pyproject.toml changes.
#
#   make demo      photographs into one file, a model trained from it, features streamed back
#   make test      lint, types, tests, doctests (Keras on JAX)
#   make test-all  the framework tests on each of Keras' backends, dask's cluster, the documentation, pages in a browser
#                  and completion in zsh and fish (installs torch and tensorflow, and Debian's chromium, zsh and fish
#                  where there are none)
#   make check     lint, format and types only
#   make bench     the numbers, beside their peers
#   make bench-peers  environments for the peers that need one of their own
#   make docs      builds the documentation into site/ and runs every example of it
#   make clean     removes environments and caches

PYTHON3 ?= python3
PIP_FLAGS = -qq --disable-pip-version-check

PYTHON = .venv/bin/python
PYTHON_ALL = .venv-all/bin/python
PYTHON_BENCH = .venv-bench/bin/python
# What `make test` cannot run: dask's cluster, datasets, the notebook and the pages that need a framework, other shells.
NEEDS_MORE = dask or iterables or torch or with_packages or browser or completes
# About half of what `make test` runs.
SOURCE_TESTS = $(addprefix tests/,adapters cli dask exporting importers importing rewriting tuning)
ADAPTERS = $(wildcard chunkstore/adapters)
# `make test` has run Keras on JAX; what needs torch or tf.data without Keras runs once.
KERAS_TESTS = tests/adapters/test_backend.py $(wildcard tests/adapters/test_keras_*.py)
OTHER_ADAPTER_TESTS = $(filter-out $(KERAS_TESTS),$(wildcard tests/adapters/test_*.py))
REQUIRED = keras jax dask h5py hdf5plugin xarray fsspec tensorstore PIL simplejpeg pyarrow cramjam matplotlib mkdocs material \
    mkdocstrings_handlers
BCOLZ_IF_IT_HAS_WHEELS = 'import sys; print("bcolz" * (sys.version_info < (3, 13)))'

.DELETE_ON_ERROR:
.PHONY: browser shells demo test test-sources test-rest test-all test-tensorflow test-torch test-more test-adapters check bench bench-peers docs clean

demo: .venv/.stamp
	KERAS_BACKEND=jax $(PYTHON) examples/demo.py

# Two runs at a time, one for each of two processors; each is printed when it has ended.
BESIDE = $(MAKE) --no-print-directory --jobs 2 --output-sync=target
TEST = KERAS_BACKEND=jax CHUNKSTORE_REQUIRED="$(REQUIRED) $$($(PYTHON) -c $(BCOLZ_IF_IT_HAS_WHEELS))" \
    $(PYTHON) -m pytest

test: check
	@$(BESIDE) test-sources test-rest

test-sources:
	$(TEST) $(SOURCE_TESTS)

test-rest:
	$(TEST) chunkstore tests $(SOURCE_TESTS:%=--ignore=%)

check: .venv/.stamp
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -q tests/test_architecture.py

TEST_ALL = CHUNKSTORE_REQUIRED=all $(PYTHON_ALL) -m pytest

test-all: browser shells .venv-all/.stamp
	@$(BESIDE) test-tensorflow test-torch test-more test-adapters

test-tensorflow test-torch:
	KERAS_BACKEND=$(@:test-%=%) $(TEST_ALL) $(ADAPTERS) $(KERAS_TESTS)

test-adapters:
	KERAS_BACKEND=jax $(TEST_ALL) $(ADAPTERS) $(OTHER_ADAPTER_TESTS)

test-more:
	$(TEST_ALL) tests/dask tests/importers/iterables tests/viewing/test_browser.py \
	    tests/cli/test_completion.py tests/test_notebooks.py tests/test_docs.py -k "$(NEEDS_MORE)"

# The pages are tested in a real browser: the one on PATH, or Debian's, which only root can install.
browser:
	@if (command -v chromium || command -v chromium-browser || command -v google-chrome) >/dev/null \
	    && command -v chromedriver >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing chromium and chromium-driver"; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get -qq update && apt-get -qq install --no-install-recommends chromium chromium-driver; \
	else \
	    echo "the tests of pages need a browser and its driver: install chromium and chromedriver" \
	        "(on Debian: apt-get install chromium chromium-driver)" >&2; exit 1; \
	fi

# Where they cannot be installed, the test says that it skips them.
shells:
	@if (command -v zsh && command -v fish) >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing zsh and fish"; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    (apt-get -qq update && apt-get -qq install --no-install-recommends zsh fish) || echo "they cannot be installed"; \
	fi

bench: .venv-bench/.stamp
	$(PYTHON_BENCH) -m benchmarks.run

# PEERS="grain litdata" makes only these.
bench-peers: .venv-bench/.stamp
	$(PYTHON_BENCH) -m benchmarks.peers.install $(PEERS)

# The theme's notice is about a later mkdocs than the one that is installed.
docs: .venv/.stamp
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict
	KERAS_BACKEND=jax $(PYTHON) -m pytest tests/test_docs.py tests/test_site.py tests/test_pictures.py

.venv/.stamp: EXTRAS = check,test,demo,docs
.venv-all/.stamp: EXTRAS = all
.venv-bench/.stamp: EXTRAS = bench,test

.venv/.stamp .venv-all/.stamp .venv-bench/.stamp: pyproject.toml
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON3=")'
	@echo "making $(@D) with chunkstore[$(EXTRAS)]"
	$(PYTHON3) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install $(PIP_FLAGS) --upgrade pip
	$(@D)/bin/python -m pip install $(PIP_FLAGS) --editable ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf .venv .venv-all .venv-bench .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
