# `make` alone lists the targets. Each one does the set-up it needs; requirements/install.py is idempotent.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Passed on to the program: make demo ARGS="--parts 100"
ARGS ?=
# Passed on to uv by `make lock`: make lock UPGRADE=--upgrade
UPGRADE ?=
# One purpose of deploy/system-packages.txt, or all of them.
PURPOSE ?=
SUDO ?= sudo

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check lint bench real-shapes anomalib-exports demo-model lock system-deps clean distclean python-version

# Packages of another Python (ROS names some here) would come before the pinned ones.
unexport PYTHONPATH PYTHONHOME

SET_UP = $(PYTHON) requirements/install.py --venv $(VENV)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: python-version ## inspect parts on a simulated line (ARGS="--parts 100 --seed 5")
	@$(SET_UP) runtime
	@$(BIN)/adclip demo $(ARGS)

test: python-version ## run every test (ARGS="-k schedule")
	@$(MAKE) --no-print-directory system-deps PURPOSE=test SUDO="sudo -n"
	@$(SET_UP) dev export --if-available torch
	$(BIN)/python -m pytest $(ARGS)

check: lint test ## lint, then test: what must pass before a commit

lint: python-version ## ruff, ruff format, mypy strict, import contracts
	@$(SET_UP) dev export --if-available torch
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	@if $(BIN)/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; \
	then set -x; $(BIN)/python -m mypy; \
	else echo 'mypy: without torch, export and training are left out'; \
	  set -x; $(BIN)/python -m mypy --follow-imports=silent -p edge -p calibration; fi
	$(BIN)/lint-imports

bench: python-version ## measure and write build/bench.json (ARGS="frames" or "networks" for one part)
	@$(SET_UP) runtime export torch
	@$(BIN)/python -m export.bench $(ARGS)
	@if test -z '$(ARGS)'; then $(BIN)/python -m calibration.bench_camera --add-to build/bench.json; fi

real-shapes: python-version ## export the four backbones and AA-CLIP at 518 px (some minutes, up to 8 GB)
	@$(SET_UP) dev export torch
	ADCLIP_REAL_SHAPES=1 $(BIN)/python -m pytest tests/export/test_backbones.py tests/export/aaclip/test_real_shapes.py

anomalib-exports: python-version ## import genuine anomalib exports and compare (Python 3.11, 2.2 GB a version)
	@$(SET_UP) dev export
	$(BIN)/python tests/export/onnx_import/genuine.py build/anomalib $(ARGS)
	ADCLIP_ANOMALIB=build/anomalib $(BIN)/python -m pytest tests/export/onnx_import/test_genuine.py -rA

demo-model: python-version ## train and export models/demo again (up to an hour)
	@$(SET_UP) runtime export torch
	@$(BIN)/python -m training.demo_model
	@$(BIN)/python -m calibration.demo_thresholds

lock: python-version ## pin requirements/*.txt again from *.in (UPGRADE=--upgrade for newer versions)
	@$(SET_UP) lock
	@# Each file is bound to the ones before it, so that no two pin the same package differently.
	@set -e; cd requirements; for name in build runtime dev export lock; do \
	  echo "  requirements/$$name.txt"; \
	  ../$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate $(UPGRADE) $$name.in -o $$name.txt; \
	done

system-deps: ## install what deploy/system-packages.txt lists (Debian, Ubuntu; PURPOSE=test for one part)
	@missing=; \
	for package in $$(awk -v purpose='$(PURPOSE)' \
	    '!/^#/ && NF >= 2 && (purpose == "" || $$1 == purpose) { print $$2 }' deploy/system-packages.txt); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	test -n "$$missing" || exit 0; \
	if test "$$(id -u)" = 0; then as_root=; else as_root='$(SUDO)'; fi; \
	$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends $$missing || \
	  echo "Not installed:$$missing. What needs them is skipped; install them with your package manager."

clean: ## remove what was built, keep .venv
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name '.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## remove .venv (and .venv-*) as well
	rm -rf .venv .venv-*

# Parts of this recipe run on whatever Python there is, so they are written for any.
python-version:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo 'No $(PYTHON) here. Python 3.10 to 3.13 is needed; on Debian and Ubuntu:' \
	    'sudo apt-get install python3 python3-venv. Another one is named with: make TARGET PYTHON=python3.11'; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else \
	  "$(PYTHON) is Python %d.%d, and 3.10 to 3.13 is needed. Name another one: make TARGET PYTHON=python3.11" % v)'
