# The two commands of the README, and what developers need beside them. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TORCH ?= cpu# build of PyTorch: cpu or cuda
CORES ?= all# how many cores Snakemake may use
SCALE ?= smoke# what to run: smoke, lite or paper
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
  $(p) -c 'import sys; sys.version_info[:2] in ((3, 11), (3, 12), (3, 13)) or sys.exit(1)' 2>/dev/null && echo $(p))))
IMAGE ?= d2r
WHEELS ?=# folder of wheels: `make wheelhouse` fills it, and without a network `make .venv` installs from it
TRAIN_ONLY ?=# 1: `make wheelhouse` takes only what training needs beside a PyTorch that is there
PYTHONS ?=# other versions of Python whose wheels it takes, too, such as "3.12 3.13"
UV_VERSION := 0.13.9

$(if $(filter cpu cuda,$(TORCH)),,$(error TORCH=$(TORCH): must be cpu or cuda))
$(if $(filter-out 1,$(TRAIN_ONLY)),$(error TRAIN_ONLY=$(TRAIN_ONLY): must be 1, or left out))
$(if $(filter-out 3.11 3.12 3.13,$(PYTHONS)),$(error PYTHONS=$(PYTHONS): must be of 3.11, 3.12 and 3.13))

VENV := .venv
INSTALLED := $(VENV)/installed-$(TORCH)
KERNEL := $(VENV)/kernel-built
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help all test test-faults lint docs films lock wheelhouse image apptainer sbom clean clean-results $(VENV)

help:  ## list the targets
	@grep -E '^[a-zA-Z$$()-]+:.*##' Makefile | sed 's/\$$(VENV)/.venv/; s/:.*##/\t/' | expand -t 13

$(VENV): $(INSTALLED) $(KERNEL)  ## create the environment from the lock file, with the command d2r in .venv/bin

$(INSTALLED): requirements-$(TORCH).lock requirements/install.sh
	@[ -n "$(PYTHON)" ] || { echo "make: no Python 3.11, 3.12 or 3.13 found; set PYTHON=/path/to/python" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "make: $(PYTHON) cannot create environments; install python3-venv" >&2; exit 2; }
	@[ -z "$(WHEELS)" ] || [ -d "$(WHEELS)" ] || { echo "make: WHEELS=$(WHEELS): no such folder; \`make wheelhouse\` fills one" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	WHEELS="$(WHEELS)" requirements/install.sh $(VENV) $(TORCH)
	touch $@

wheelhouse:  ## gather every wheel of the lock in WHEELS (default build/wheels), to install without a network
	requirements/wheelhouse.sh $(PYTHON) "$(or $(WHEELS),build/wheels)" $(TORCH) $(if $(TRAIN_ONLY),--training) $(PYTHONS)

$(KERNEL): $(INSTALLED) $(wildcard d2r/kernel/*.cpp d2r/kernel/*.h) d2r/kernel/build.py
	$(VENV)/bin/python d2r/kernel/build.py
	@[ -z "$$(ls d2r/kernel/built/*.so 2>/dev/null)" ] || touch $@

all: $(VENV)  ## train, evaluate and report everything at SCALE (default smoke) on CORES (default all)
	snakemake --cores $(if $(filter all,$(CORES)),$$(python -P -m d2r.cores),$(CORES)) all --config scale=$(SCALE)
	@echo "Report: $(CURDIR)/results/$(SCALE)/report/index.html"

test: $(VENV)  ## run the tests
	pytest --quiet --numprocesses auto --maxprocesses 8

test-faults: $(VENV)  ## kill runs, fill disks, damage files, feed rubbish; ends with a line of counts (slow)
	pytest --quiet -m "slow or not slow" tests/faults

lint: $(VENV)  ## check style, types and the workflow
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

docs: $(VENV)  ## write what the documentation takes from methods, claims and configuration
	python -P -m d2r.cli.documents

films: $(VENV)  ## make the films of README and page from released policies (after `dvc pull`; needs libosmesa6)
	sh workflow/films.sh

lock:  ## write the lock files anew from pyproject.toml (UPGRADE=--upgrade for newer versions)
	python3 -m venv build/lock
	eval "$$(build/lock/bin/python -I requirements/pip_settings.py)" && build/lock/bin/python -I -m pip install --quiet uv==$(UV_VERSION)
	UV="$(CURDIR)/build/lock/bin/uv" requirements/lock.sh $(UPGRADE)

image:  ## build the container image
	docker build --build-arg TORCH=$(TORCH) --build-arg COMMIT="$$(git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null || echo unknown)" -t $(IMAGE) .

apptainer: image  ## convert the image into build/d2r.sif, for `snakemake --sdm apptainer --config image=build/d2r.sif`
	@command -v apptainer >/dev/null || { echo "make: apptainer is not installed" >&2; exit 2; }
	mkdir -p build
	docker save --output build/d2r.tar $(IMAGE)
	apptainer build --force build/d2r.sif docker-archive:build/d2r.tar
	rm build/d2r.tar

sbom: image  ## write the image's bill of materials to build/sbom.cdx.json
	mkdir -p build
	docker run --rm --network none $(IMAGE) cat /usr/share/sbom.cdx.json > build/sbom.cdx.json

clean:  ## remove the environment and caches
	rm -rf $(VENV) build d2r/kernel/built d2r.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-results:  ## remove everything that is not released of the pipeline's results, training state included
	rm -rf .snakemake results/.snakemake routes
	find results -mindepth 1 -maxdepth 1 ! -name released ! -name benchmarks -exec rm -rf {} +
