# The way from a clone to a result. `make` alone lists the targets.

PYTHON ?= python3
PIP_TORCH ?=
DATA ?=
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
LOG := $(VENV)/install.log
# pip's own configuration (index, find-links, proxy) is honoured. What it says goes to a log, whose
# end is shown if it fails.
# The pins come as variables: so they hold for what pip installs to build a package, too (newer
# releases of pip read the second one for that).
PINS := requirements/constraints.txt
pip = PIP_CONSTRAINT=$(PINS) PIP_BUILD_CONSTRAINT=$(PINS) $(PY) -m pip \
	--disable-pip-version-check $(1) >> $(LOG) 2>&1 || { tail -n 25 $(LOG) >&2; \
	echo 'error: pip failed; all that it said is in $(LOG)' >&2; exit 1; }

# A stamp carries a checksum of what it depends on, the folder included (an editable install
# points to it). Times of files would not do: git sets them anew at each checkout.
STACK_FILES := setup.py requirements/runtime.txt requirements/mminstall.txt $(PINS)
checksum = $(shell (printf '%s' '$(CURDIR)'; cat $(1)) | cksum | cut -d ' ' -f 1)
INSTALLED := $(VENV)/.installed-$(call checksum,$(STACK_FILES))
TESTS_INSTALLED := $(VENV)/.tests-$(call checksum,$(STACK_FILES) requirements/tests.txt)

define check_python
'$(PYTHON)' -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 12) or sys.exit( \
	"error: $(PYTHON) is Python %d.%d, but amt_mm needs 3.10, 3.11 or 3.12: " \
	"make install PYTHON=python3.11" % v)'
endef

.DEFAULT_GOAL := help
.PHONY: help install quickstart test lint wheel clean

help: ## print this list
	@awk -F ' *## *' '/^[a-z-]+:.*##/ { sub(/:.*/, "", $$1); printf "  make %-12s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Variables:'
	@echo '  PYTHON=python3.11     interpreter for .venv, 3.10 to 3.12 (default: python3)'
	@echo '  PIP_TORCH="OPTIONS"   options for pip when it fetches torch and torchvision the first'
	@echo '                        time, such as --index-url with the address of an index of CPU'
	@echo '                        builds (the default build for Linux brings CUDA, several GB)'
	@echo '  DATA=FOLDER           make quickstart: your own images instead of the generated ones'
	@echo '  ARGS="OPTIONS"        make test: options for pytest, such as -k masking'

install: $(INSTALLED) ## make .venv with amt_mm and the pinned pre-training stack
	@echo 'amt_mm is installed in $(VENV)'

$(INSTALLED):
	@$(PY) -m pip --version > /dev/null 2>&1 || { $(check_python) && '$(PYTHON)' -m venv $(VENV); }
	@echo "[1/5] $(VENV), with $$($(PY) --version)"
	@rm -f $(VENV)/.installed-* $(LOG)
	@echo '[2/5] torch and torchvision (the largest download; to follow it: tail -f $(LOG))'
	@$(call pip,install --no-deps $(PIP_TORCH) torch torchvision)
# pip caches a wheel by its name, however it was built: an mmcv with compiled operators must
# neither come from there nor, without them, go there.
	@echo '[3/5] mmcv, without compiled operators'
	@$(call pip,install --no-deps --no-cache-dir onedl-mmcv)
	@echo '[4/5] mmengine, mmpretrain and what they need'
	@$(call pip,install -r requirements/runtime.txt -r requirements/mminstall.txt)
	@echo '[5/5] amt_mm, editable'
	@$(call pip,install --editable .)
	@touch $@

$(TESTS_INSTALLED): $(INSTALLED)
	@echo 'requirements of the tests'
	@rm -f $(VENV)/.tests-*
	@$(call pip,install -r requirements/tests.txt)
	@touch $@

quickstart: $(INSTALLED) ## see the method at work, on generated images or on DATA=FOLDER
	@$(PY) tools/quickstart.py $(if $(DATA),--data '$(DATA)') --work-dir work_dirs/quickstart

test: lint ## run all checks: lint, then pytest (ARGS="-k masking" goes to pytest)
	@$(PY) -m pytest $(ARGS)

lint: $(TESTS_INSTALLED) ## check the style of Python and shell files
	@$(PY) -m ruff check .
	@$(VENV)/bin/shellcheck -x tools/*.sh .ci/run

wheel: $(INSTALLED) ## build dist/amt_mm-*.whl, which carries configs and tools
	@rm -rf build
	@$(call pip,wheel --no-deps --wheel-dir dist .)
	@ls dist/*.whl

clean: ## remove builds and caches (not .venv, not work_dirs)
	@rm -rf build dist amt_mm.egg-info .pytest_cache .ruff_cache .hypothesis
	@find amt_mm configs tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
