PYTHON ?= python3
BIN = .venv/bin

.PHONY: help setup demo test gradcheck lint clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and install everything into it
	@$(PYTHON) minisrgan/tools/install.py

demo: setup ## make photos larger with the trained weights; see runs/demo
	$(BIN)/minisrgan demo --out runs/demo

test: setup ## run every test
	$(BIN)/python -m pytest

gradcheck: setup ## check every derivative against finite differences
	$(BIN)/minisrgan gradcheck

lint: setup ## check the style
	$(BIN)/python -m ruff check

clean: ## remove .venv, builds and caches; runs/ and weights stay
	rm -rf .venv build dist *.egg-info .pytest_cache .hypothesis .ruff_cache
	find . -path ./runs -prune -o -type d -name __pycache__ -exec rm -rf {} +
