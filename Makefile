PYTHON ?= python3
BIN = .venv/bin
# What `make quick` tests: the engine, one family of kernels, one lesson
QUICK = tests/test_tensor.py tests/ops tests/device/test_kernels_elementwise.py
QUICK_LESSON = 02_engine

# `make help` lists each line `target: ## words` under the last line `##@ Heading` above it
.PHONY: help setup demo quick test lint format gradcheck kernels-checked peers bench gpu site notebooks links clean

##@ Everyday

help: ## list these targets
	@awk -F ':.*## ' '/^##@ / { printf "%s%s\n", (n++ ? "\n" : ""), substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and install everything into it
	@$(PYTHON) install.py

demo: setup ## train the tiny model in minutes, and enlarge photos that it never saw
	$(BIN)/minisrgan demo --out runs/demo

quick: setup lint ## style, types, and the tests of the engine, one kernel, one lesson: under a minute
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 $(QUICK)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 tests/lessons/test_lessons.py -k $(QUICK_LESSON)

test: setup ## every test, one process for each core: minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

##@ Checks

lint: setup ## check the style and the types
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m pyrefly check

format: setup ## put the format right, and what else of the style can be put right by itself
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

gradcheck: setup ## check every derivative against finite differences
	$(BIN)/minisrgan gradcheck

kernels-checked: setup ## run the kernels, sound ones and planted bugs, under sanitizers and a race detector
	$(BIN)/python tests/kernel_bugs/run.py

peers: setup ## exported and shared models in onnxruntime, ncnn, PyTorch and spandrel, which it downloads
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[peers,peers-torch]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 tests/exporting tests/weights/test_shared.py

bench: setup ## measure speed and memory, beside PyTorch where it is installed
	$(BIN)/minisrgan bench

# On a machine with an NVIDIA GPU and CuPy, in .venv or not: nothing is set up, so no network is needed.
gpu: ## on a machine with a GPU: tests, gradients, speed, profiles, a training; see benchmarks/README.md
	PYTHON=$(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu.sh

##@ Lessons and pages

site: $(BIN)/minisrgan-site ## the lessons and docs/ as a website, in build/site/html; works offline
	$(BIN)/python -m lessons.course.site.build

notebooks: $(BIN)/minisrgan-site ## the lessons as notebooks for Colab, in build/notebooks
	$(BIN)/python -m lessons.course.site.notebooks

links: setup ## ask every link of the lessons and the pages whether it leads somewhere
	$(BIN)/python -m lessons.course.site.links

# Sphinx and what else the site needs, once for each version of pyproject.toml
$(BIN)/minisrgan-site: pyproject.toml | setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[site]'
	@touch $@

##@ Maintenance

clean: ## remove .venv, builds and caches; runs/ and weights stay
	rm -rf .venv build dist *.egg-info .pytest_cache .hypothesis .ruff_cache
	find . -path ./runs -prune -o -type d -name __pycache__ -exec rm -rf {} +
