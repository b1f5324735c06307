# Two commands do it all on a fresh machine with Python >= 3.11:
#   make demo   generated chest CT through every stage, ends with runs/demo/report.html
#   make test   the tests; make test-all runs the long ones, too
# make experiments  the paper's comparisons at their smallest; each ends with runs/experiments/NAME/report.html
# make setup JAX=cpu|cuda13|cuda12|tpu  installs only; make check  the form; make clean  removes .venv and runs/demo.
PYTHON ?= python3
JAX ?= cpu
VENV ?= .venv
WORKDIR ?= runs/demo
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed-$(JAX)
# Modules are compiled when they are first imported; most never are.
PIP := $(PY) -m pip install --disable-pip-version-check --quiet --no-compile
EXTRA := $(if $(filter cpu,$(JAX)),,"jax[$(JAX)]==$(shell sed -n 's/^jax==\([^ ]*\).*/\1/p' requirements.txt)")

# $(call step,title,command,remedy): run a step of the set-up; when it fails, say which one and what to do.
define step
	@echo "[setup] $(1)"
	@$(2) || { echo "" >&2; echo "Set-up failed at step: $(1)." >&2; echo "What to do: $(3)" >&2; exit 1; }
endef

EXPERIMENTS := comparison_single comparison_multi ablation cross_validation independent loss_variants pretraining \
  pretraining_multi cost
EXPERIMENTS_DIR ?= runs/experiments
SIZE ?= tiny
# Runs at the same time; with GPUs each needs one of its own.
PARALLEL ?= $(if $(filter cpu,$(JAX)),2,1)

.PHONY: demo test test-all experiments setup check clean

demo: $(STAMP)
	$(PY) -m launch.pipeline --config=configs/ct_phantom.py:demo --workdir=$(WORKDIR)

# One grid after the other; what comes out the same is taken from those before.
experiments: $(STAMP)
	@shares=; for name in $(EXPERIMENTS); do \
	  $(PY) -m launch.experiment --config=configs/experiments/$$name.py:$(SIZE) --workdir=$(EXPERIMENTS_DIR)/$$name \
	    --num_parallel=$(PARALLEL) $$shares || exit 1; \
	  shares="$$shares --share=$(EXPERIMENTS_DIR)/$$name"; \
	done

# One process more than cores, because some tests wait for programs; about 2 GiB each. A process that dies is not
# started again: with loadfile it would run the test that killed it again, without end.
PYTEST = $(PY) -m pytest --numprocesses=$$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses=4 --dist=loadfile --no-loadscope-reorder --max-worker-restart=0

test: $(STAMP)
	$(PYTEST) -m "not long"
	@echo "Left out: the long tests (whole programs, killed and resumed ones, simulations, gradients, the browser, fuzzing). Run them all: make test-all"

test-all: $(STAMP)
	$(PYTEST)

check: $(STAMP)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(VENV)/bin/shellcheck -x launch/cluster/*.sh

setup: $(STAMP)

$(STAMP): requirements.txt requirements-build.txt constraints.txt
	$(if $(filter cpu cuda12 cuda13 tpu,$(JAX)),,$(error JAX=$(JAX) is unknown; choose one of cpu, cuda12, cuda13, tpu))
	$(call step,1/4 Python >= 3.11,$(PYTHON) -c 'import sys; print(sys.version); sys.exit(sys.version_info < (3, 11))',install Python 3.11 or newer and name it: make setup PYTHON=python3.12)
	$(call step,2/4 virtual environment in $(VENV),$(PYTHON) -m venv $(VENV),install the venv module (Debian: apt-get install python3-venv) and delete $(VENV) before the next try)
	$(call step,3/4 build tools of pyradiomics,$(PIP) -r requirements-build.txt,check the network and the package index (pip config list); then run the same command again)
	$(call step,4/4 packages of requirements.txt for JAX on $(JAX),$(PIP) --no-build-isolation -r requirements.txt -c constraints.txt $(EXTRA),if pyradiomics did not build: install a C compiler and the Python headers (Debian: apt-get install build-essential python3-dev); otherwise check the network and free disk space; then run the same command again)
	@rm -f $(VENV)/.installed-*
	@touch $@
	@echo "[setup] done: $(PY)"

clean:
	rm -rf $(VENV) runs/demo
