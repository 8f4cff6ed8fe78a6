.PHONY: help install test heavy break lint docs check bench

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## install for development into the current environment
	pip install -c constraints.txt -e '.[test]'

test: ## run the default tests (minutes)
	pytest -n auto --dist loadscope

heavy: ## run the long tests: crashes, recorded speech, the default corpus
	pytest -m heavy

break: ## try to break every command, at length: docs/reliability.md (hours)
	for part in kills cold changes sizes disk workers use flips chunks fuzz; do \
	  python tests/trust/long_run.py $$part --log trust.log || exit 1; done

lint: ## style, types, and whether man pages and completions are fresh
	ruff check .
	ruff format --check .
	mypy
	python tools/make_docs.py --check

docs: ## write man pages and completions from the program
	python tools/make_docs.py

check: ## what has to pass before a change lands
	bash .ci/run

bench: ## measure against plain PyTorch and, given CORPUS=, scipy.fft
	python benchmarks/epoch.py
	python benchmarks/bp.py
	python benchmarks/anneal.py
	python benchmarks/cluster.py
	if [ -n "$(CORPUS)" ]; then python benchmarks/trust.py $(CORPUS); fi
	if [ -n "$(CORPUS)" ]; then python benchmarks/prepare.py $(CORPUS); fi
