# Needs Python 3.11 or newer and make; everything else goes into .venv, in this folder.
# make demo PYTHON=/path/to/python3.12   chooses the Python.

VENV = .venv
PY = $(VENV)/bin/python
PIP = $(PY) -m pip --disable-pip-version-check

.PHONY: help demo test test-e2e test-kernel lint check clean

help:
	@echo "make demo         install into .venv and write demo.mp4: no camera, GPU or display needed"
	@echo "make test         install what the tests need and run them all"
	@echo "make test-e2e     tests with a real browser, OBS and display; skipped where one is missing"
	@echo "make test-kernel  tests with a kernel's own cameras, in a virtual machine (Debian, amd64)"
	@echo "make check        format, lint, strict types and tests"
	@echo "make clean        remove .venv and what was built"

demo: $(VENV)/app.stamp
	$(PY) -m puppetcam demo

test: $(VENV)/test.stamp
	$(PY) -m pytest

test-e2e: $(VENV)/test.stamp
	$(PY) -m pytest -rs tests/e2e

test-kernel: $(VENV)/test.stamp
	$(PY) tests/e2e/kernel/run.py

lint: $(VENV)/test.stamp
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

check: lint test

# One environment, three stamps: made, ready for the app, ready for the tests.
# onnxruntime and onnxruntime-gpu are the same module, so the choice is made once and kept.
$(VENV)/venv.stamp:
	@tried=; \
	for python in $${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do \
		tried="$$tried $$python ($$("$$python" --version 2>/dev/null || echo not found)),"; \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "making $(VENV) with $$python"; \
		"$$python" -m venv --clear $(VENV) || { \
			echo "Python's venv is not complete; on Debian and Ubuntu: sudo apt install python3-venv"; \
			exit 1; }; \
		if nvidia-smi >/dev/null 2>&1 && test "$$(uname -m)" = x86_64; then echo gpu; else echo cpu; fi \
			> $(VENV)/runtime; \
		touch $@; exit 0; \
	done; \
	echo "puppetcam needs Python 3.11 or newer; tried:$${tried%,}." \
		"Install one, or name it: make demo PYTHON=/path/to/python3.12"; \
	exit 1

# Editable: what runs is what lies in this folder, also after a git pull.
$(VENV)/app.stamp: $(VENV)/venv.stamp pyproject.toml
	$(PIP) install -e ".[$$(cat $(VENV)/runtime)]"
	@$(PY) -c 'import cv2' || { \
		echo "OpenCV misses a library of the system; on Debian and Ubuntu:" \
			"sudo apt install libgl1 libglib2.0-0"; \
		exit 1; }
	@touch $@

$(VENV)/test.stamp: $(VENV)/app.stamp
	$(PIP) install -e ".[$$(cat $(VENV)/runtime),export,dev]"
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo.mp4
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
