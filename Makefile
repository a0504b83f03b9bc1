PYTHON ?= python3
BIN = .venv/bin

.PHONY: help setup demo test gradcheck kernels-checked bench gpu lint site notebooks links clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and install everything into it
	@$(PYTHON) install.py

demo: setup ## train the tiny model in minutes, and enlarge photos that it never saw
	$(BIN)/minisrgan demo --out runs/demo

test: setup ## run every test, one process for each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

gradcheck: setup ## check every derivative against finite differences
	$(BIN)/minisrgan gradcheck

kernels-checked: setup ## run kernels, sound ones and bugs, under sanitizers and a race detector
	$(BIN)/python tests/kernel_bugs/run.py

bench: setup ## measure speed and memory, beside PyTorch where it is installed
	$(BIN)/minisrgan bench

# On a machine with an NVIDIA GPU and CuPy, in .venv or not: nothing is set up, so no network is needed.
gpu: ## what a GPU is to be asked first: tests, gradients, speed, compute-sanitizer; results in $OUT
	PYTHON=$(or $(wildcard $(BIN)/python),$(PYTHON)) tests/gpu.sh

lint: setup ## check the style
	$(BIN)/python -m ruff check

site: $(BIN)/minisrgan-site ## the lessons as a website, in build/site/html; works offline
	$(BIN)/python -m lessons.course.site.build

notebooks: $(BIN)/minisrgan-site ## the lessons as notebooks for Colab, in build/notebooks
	$(BIN)/python -m lessons.course.site.notebooks

links: setup ## ask every link of the lessons and the READMEs whether it leads somewhere
	$(BIN)/python -m lessons.course.site.links

# Sphinx and what else the site needs, once for each version of pyproject.toml
$(BIN)/minisrgan-site: pyproject.toml | setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[site]'
	@touch $@

clean: ## remove .venv, builds and caches; runs/ and weights stay
	rm -rf .venv build dist *.egg-info .pytest_cache .hypothesis .ruff_cache
	find . -path ./runs -prune -o -type d -name __pycache__ -exec rm -rf {} +
