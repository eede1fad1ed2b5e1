# make demo    the whole pipeline on scikit-learn's digits: train, export, evaluate, run
# make fuzz    mutants of every kind of file against the commands that open it (COUNT=2000 per kind, an hour or more)
# make test    format, lint, types, import contracts, the test suite
# make docs    the documentation as a site in build/site; a broken link is an error
# make dist    sdist and wheel in dist/, checked
# make install .venv with every extra and the development tools, pinned by constraints.txt; TORCH=cpu without a GPU's libraries
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
.PHONY: install docs dist demo test check pytest mutants fuzz kills random test-bare test-oldest browser devices format constraints clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "idsnn trains with Python 3.11 or newer; set PYTHON=python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "installing into .venv: $(if $(TORCH),under 2 GB,6 GB on Linux with x86-64 (under 2 GB with TORCH=cpu)) on the disk, torch and what it brings; nothing is fetched twice"
	$(BIN)/uv pip install $(if $(TORCH),--torch-backend $(TORCH)) --python $(BIN)/python --constraint constraints.txt --editable '.[all,bench,dev]'
	@touch $@

demo: install
	$(BIN)/python examples/demo.py

docs: install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[all,bench,dev,docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict      # --quiet would count no warning

dist: install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[all,bench,dev,release]'
	rm -rf dist
	$(BIN)/python -m build --installer uv
	$(BIN)/python -m twine check --strict dist/*

test: check pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: install
	$(BIN)/python -m pytest --numprocesses 2

# Changed lines that no test notices, module by module: all of tests/mutants.toml, or ONLY="parity plan".
mutants: install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[all,bench,dev,mutants]'
	nice $(BIN)/python tests/mutants.py $(ONLY)

# The suite where nothing is set: no terminal, no home, no cache, another folder.
test-bare: install
	cd / && env -i PATH=/usr/bin:/bin TERM=dumb LC_ALL=C XDG_CACHE_HOME=/dev/null IDSNN_TEST_DATA="$(IDSNN_TEST_DATA)" \
	  $(CURDIR)/$(BIN)/python -m pytest --numprocesses 2 -p no:cacheprovider $(CURDIR)/tests

# SEED=N repeats a run, COUNTS=FILE goes on with one; what found a fault lies in FUZZ_KEEP.
COUNT ?= 2000
FUZZ_KEEP ?= runs/fuzz
fuzz: install
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m fuzzing --count $(COUNT) $(if $(SEED),--seed $(SEED)) \
	  $(if $(COUNTS),--counts $(abspath $(COUNTS))) --keep ../$(FUZZ_KEEP)

# Random networks of SpikingJelly's and of snnTorch's parts against their own runs, in slices of seeds.
NETWORKS ?= 300
random: install
	cd tests && for first in $$(seq 0 60 $$(($(NETWORKS) - 1))); do \
	  OMP_NUM_THREADS=1 nice ../$(BIN)/python -W ignore random_spikingjelly.py --first $$first --count 60 || exit 1; \
	  OMP_NUM_THREADS=1 nice ../$(BIN)/python -W ignore random_snntorch.py --first $$first --count 60 || exit 1; done

# The oldest onnxruntime that a device may have: the runtime's tests in an environment of their own.
test-oldest: install
	rm -rf .venv/oldest
	$(BIN)/uv venv --quiet --python $(BIN)/python .venv/oldest
	$(BIN)/uv pip install --quiet --python .venv/oldest/bin/python 'onnxruntime==1.17.3' 'numpy<2' pillow pytest hypothesis --editable .
	.venv/oldest/bin/python -m pytest -p no:cacheprovider tests/test_deploy_*.py

# Debian's headless Chromium, for the test that opens the HTML report.
browser:
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

# Generated C on 64-bit and 32-bit Arm and on bare Cortex-M4 and M7, under qemu.
DEVICES := gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user-static \
  gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
devices: install
	command -v aarch64-linux-gnu-gcc && command -v arm-linux-gnueabihf-gcc && command -v qemu-arm-static \
	  && command -v arm-none-eabi-gcc && command -v qemu-system-arm \
	  || { apt-get update -qq && apt-get install -y -qq --no-install-recommends $(DEVICES); }
	$(BIN)/python -m pytest tests/test_c_devices.py

# Trainings and exports killed before every file operation, without space at every one, racing; needs strace (apt-get install strace).
kills: install
	$(BIN)/python benchmarks/kills.py

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python tests/file_table.py
	$(BIN)/python tests/json_schema.py

# Renews the pins: names, versions and environment markers, no addresses.
constraints: install
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --upgrade pyproject.toml --output-file constraints.txt

clean:
	rm -rf .venv runs dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
