# Two commands set the project up: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
IN_BROWSER := tests/test_browser.py tests/test_app.py tests/test_site.py
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test test-browser audit bench trust setup lock lab app docs outputs readme clean-notebooks help
.DEFAULT_GOAL := help

demo: setup ## install, then run the main job: text to table, figures, prompt and report in runs/demo
	metapt demo --out runs/demo

test: setup ## install, then export freshness, notebooks as tests (those drawn from stored runs by pytest), pytest; two at a time, what is timed alone
	pytest -q tests/test_export.py
	OMP_NUM_THREADS=1 nbdev_test --n_workers 2 --timing --skip_folder_re '^([_.]|paper|mpt|supmer)'
	OMP_NUM_THREADS=1 pytest -q -n 2 --dist loadgroup tests --ignore tests/test_export.py --ignore tests/test_views.py $(IN_BROWSER:%=--ignore %)
	pytest -q tests/test_views.py

test-browser: setup ## the interactive notebooks in a real chromium, every control by keyboard; screenshots in runs/screenshots
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium chromium-driver; } || \
	  { echo "chromium and chromedriver are missing: run 'make test-browser' as root on Debian, or 'sudo apt-get install chromium chromium-driver' first" >&2; exit 1; }
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,docs,app]"
	pytest -q --durations=0 $(IN_BROWSER)

audit: setup ## known weaknesses: of the code by bandit, of the pinned packages by pip-audit where its data can be had
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,audit]"
	python tests/audit.py

docs: setup ## README, every notebook as it is stored and every module as a site with search, in _docs/html
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	sphinx-build -q -W --keep-going -d _docs/doctrees -c nbs/site . _docs/html

bench: setup ## meta-gradients, tuning, prediction beside higher, torchopt, PEFT and transformers, clusters at size; tables and plots in bench/
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,bench]"
	python bench/bench.py
	metapt fetch --with smollm2
	python bench/tasks.py
	python bench/clusters.py

SEED ?= 0
trust: setup ## commands disturbed by faults drawn with SEED, ten minutes of them or ROUNDS in all; the table in bench/TRUST.md
	OMP_NUM_THREADS=1 python bench/trust.py --seed $(SEED) $(if $(ROUNDS),--rounds $(ROUNDS))

setup: .venv/.installed ## only the environment: .venv and the embedded packages

# An installation that fails or is stopped leaves no .venv behind.
.venv/.installed: constraints.txt settings.ini setup.py
	@$(PYTHON) tests/python.py
	@start=$$SECONDS; echo "environment …"; trap 'rm -rf .venv; exit 1' INT TERM; \
	$(PYTHON) -m venv --clear .venv && \
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]" && \
	$(BIN)/metapt fetch && touch $@ && echo "  environment: $$((SECONDS - start)) s" || { rm -rf .venv; exit 1; }

lock: setup ## pins anew for every Python and system, as near to the present ones as settings.ini allows
	uv pip compile --refresh --universal --python-version 3.11.0 --all-extras --no-annotate -q --custom-compile-command "make lock" \
	  --no-emit-package pip --no-emit-package setuptools --no-emit-package wheel setup.py -o constraints.txt

lab: setup ## JupyterLab at the index notebook, for this machine alone and with Jupyter's token
	jupyter lab --ip=127.0.0.1 nbs/index.ipynb

app: setup ## the five pages with controls as a web page, without JupyterLab; for this machine alone, with a token
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,app]"
	JUPYTER_PATH=$(CURDIR)/nbs/app voila nbs --template=metapt --Voila.ip=127.0.0.1 --token --no-browser

outputs: setup ## run every notebook and store what it shows
	python tests/outputs.py

readme: setup ## README.md from nbs/index.ipynb
	python tests/readme.py

clean-notebooks: setup ## strip what must not be committed, export the modules
	nbdev_clean && nbdev_export

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18
