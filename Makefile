# Headwire. `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test bench clean distclean

VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=
EXTRAS ?= dev
STAMP := $(VENV)/.headwire-ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## .venv with everything a call and the tests need (some minutes the first time, then nothing)
	@echo "ready: $(VENV)"

demo: $(STAMP) ## a call between two processes on this machine, kept as demo/call.mp4 (ARGS="--seconds 10" and others)
	@$(VENV)/bin/headwire demo $(ARGS)

test: $(STAMP) ## formatting, lint, types and the tests
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/pytest $(ARGS)

bench: $(STAMP) ## the list of benchmarks (ARGS="NAME" runs one; installs what they need besides)
	@$(PY) -m pip install --quiet -c constraints.txt -e '.[dev,bench]'
	@$(VENV)/bin/headwire bench $(if $(ARGS),$(ARGS),--list)

clean: ## remove caches and results
	@rm -rf build dist demo cache .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv, too
	@rm -rf $(VENV)

# What OpenCV and PortAudio want of the system, as library:Debian package.
LIBRARIES := libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0 libportaudio.so.2:libportaudio2

$(STAMP): pyproject.toml constraints.txt
	@python=
	for name in python3.11 python3.12 python3; do
	  if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then python=$$name; break; fi
	done
	if [ -z "$$python" ]; then
	  echo "make: Python 3.11 or 3.12 is needed and was not found: install it (Debian 12: apt install python3 python3-venv)" >&2; exit 2
	fi
	missing=
	for pair in $(LIBRARIES); do
	  $$python -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$${pair%%:*}" 2>/dev/null || missing="$$missing $${pair##*:}"
	done
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then missing="$$missing $$(basename $$python)-venv"; fi
	if [ -n "$$missing" ] && [ "$$(uname)" = Linux ]; then
	  install="apt-get install -y --no-install-recommends$$missing"
	  root=
	  if [ "$$(id -u)" != 0 ]; then root=sudo; fi
	  if command -v apt-get >/dev/null && { [ -z "$$root" ] || sudo -n true 2>/dev/null; }; then
	    echo "installing system packages:$$missing"
	    export DEBIAN_FRONTEND=noninteractive
	    { $$root apt-get update -qq && $$root $$install -qq; } >/dev/null || {
	      echo "make: the system packages could not be installed; run: $$root $$install" >&2; exit 2; }
	  elif [ "$$missing" = " libportaudio2" ]; then
	    echo "note: without PortAudio there is no microphone and no speaker; for sound run: sudo $$install" >&2
	  else
	    echo "make: system packages are missing and you may not install them; ask for: sudo $$install" >&2; exit 2
	  fi
	fi
	if ! $(PY) -m pip --version >/dev/null 2>&1; then $$python -m venv --clear $(VENV); fi
	echo "installing the Python packages into $(VENV) (some minutes the first time)"
	$(PY) -m pip install --quiet --progress-bar off -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

.ONESHELL:
