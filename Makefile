# The way from a clone to a result. `make` alone lists the targets.

PYTHON ?= python3
PIP_TORCH ?=
# Through the environment, since folders have names with quotes in them, too.
export DATA ?=
ARGS ?=
WORKERS ?= 2
WHEELS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/amt_mm/wheels

VENV := .venv
PY := $(VENV)/bin/python
LOG := $(VENV)/install.log
# pip's own configuration (index, find-links, proxy) is honoured. What it says goes to a log, whose
# end is shown if it fails.
# The pins come as variables: so they hold for what pip installs to build a package, too (newer
# releases of pip read the second one for that).
PINS := requirements/constraints.txt
# $(2): assignments for one call alone.
pip = PIP_CONSTRAINT=$(PINS) PIP_BUILD_CONSTRAINT=$(PINS) env $(2) $(PY) -m pip \
	--disable-pip-version-check $(1) >> $(LOG) 2>&1 || { tail -n 25 $(LOG) >&2; \
	echo 'error: pip failed; all that it said is in $(LOG)' >&2; exit 1; }

# A stamp carries a checksum of what it depends on, the folder included (an editable install
# points to it). Times of files would not do: git sets them anew at each checkout.
STACK_FILES := setup.py requirements/runtime.txt requirements/mminstall.txt $(PINS)
checksum = $(shell (printf '%s' '$(CURDIR)'; cat $(1)) | cksum | cut -d ' ' -f 1)
INSTALLED := $(VENV)/.installed-$(call checksum,$(STACK_FILES))
TESTS_INSTALLED := $(VENV)/.tests-$(call checksum,$(STACK_FILES) requirements/tests.txt)
DETECTION_INSTALLED := $(VENV)/.detection-$(call checksum,$(STACK_FILES) requirements/detection.txt)

# Compiled operators run with the Python and the torch that they were built for, and on GPUs if
# nvcc built them: each kind has a folder of its own, so that none is taken for another.
MMCV := $(shell sed -n 's/^onedl-mmcv==//p' $(PINS))
define name_of_operators
import os, platform, sys, torch
from torch.utils.cpp_extension import CUDA_HOME
cuda = torch.version.cuda
if cuda and not os.path.exists(f"{CUDA_HOME}/bin/nvcc"):
    print("warning: torch is built for CUDA, but there is no nvcc (set CUDA_HOME): the operators "
          "are compiled for CPUs alone, detection will not run on a GPU", file=sys.stderr)
    cuda = None
if cuda and not torch.cuda.is_available() and not os.environ.get("TORCH_CUDA_ARCH_LIST"):
    print("warning: there is no GPU here to compile for: the operators are compiled for CPUs alone; "
          "for another machine, set TORCH_CUDA_ARCH_LIST to its compute capability, such as 9.0",
          file=sys.stderr)
    cuda = None
kind = f"cuda{cuda}" if cuda else "cpu"
python = "cp%d%d" % sys.version_info[:2]
print(f"{python}-torch{torch.__version__}-{kind}-{platform.machine()}")
endef
export name_of_operators

define check_python
'$(PYTHON)' -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 13) or sys.exit( \
	"error: $(PYTHON) is Python %d.%d, but amt_mm needs one of 3.10 to 3.13: " \
	"make install PYTHON=python3.11" % v)'
endef

.DEFAULT_GOAL := help
.PHONY: help install install-detection quickstart race gpu-check test test-all lint docs wheel clean
# Two pips at a time would harm each other.
.NOTPARALLEL:

help: ## print this list
	@awk -F ' *## *' '/^[a-z-]+:.*##/ { sub(/:.*/, "", $$1); printf "  make %-18s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Variables:'
	@echo '  PYTHON=python3.11     interpreter for .venv, 3.10 to 3.13 (default: python3)'
	@echo '  PIP_TORCH="OPTIONS"   options for pip when it fetches torch and torchvision the first'
	@echo '                        time, such as --index-url with the address of an index of CPU'
	@echo '                        builds (the default build for Linux brings CUDA, several GB)'
	@echo '  WHEELS=FOLDER         where the compiled operators are kept (default:'
	@echo '                        $(WHEELS))'
	@echo '  DATA=FOLDER           make quickstart: your own images instead of the generated ones'
	@echo '                        make race: photographs in class subfolders (default: data/clothing)'
	@echo '  ARGS="OPTIONS"        make quickstart, race, gpu-check: options, such as "--minutes 30"'
	@echo '                        make test: options for pytest, such as -k masking'
	@echo '  WORKERS=N             make test: processes that run tests (default: 2)'

install: $(INSTALLED) ## make .venv with amt_mm and the pinned pre-training stack
	@echo 'amt_mm is installed in $(VENV)'

$(INSTALLED):
	@$(PY) -m pip --version > /dev/null 2>&1 || { $(check_python) && '$(PYTHON)' -m venv $(VENV); }
	@echo "[1/5] $(VENV), with $$($(PY) --version)"
	@rm -f $(VENV)/.installed-* $(VENV)/.detection-* $(LOG)
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

install-detection: $(DETECTION_INSTALLED) ## add what Mask R-CNN and UPerNet need: mmdet, mmseg
	@echo 'detection is installed in $(VENV)'

$(DETECTION_INSTALLED): $(INSTALLED)
	@rm -f $(VENV)/.detection-*
	@echo '[1/3] mmcv with compiled operators, for detection'
	@kind=$$($(PY) -c "$$name_of_operators") || exit 1; folder='$(WHEELS)'/"$$kind"; \
	if ! ls "$$folder"/onedl_mmcv-$(MMCV)-*.whl > /dev/null 2>&1; then \
		echo 'compiling them, once: about 10 minutes (to follow it: tail -f $(LOG))'; \
		part="$$folder.part.$$$$"; \
		case "$$kind" in *-cuda*) target=FORCE_CUDA=1;; \
			*) target='FORCE_CUDA=0 CUDA_VISIBLE_DEVICES=';; esac; \
		$(call pip,install setuptools wheel packaging ninja); \
		export PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; \
		$(call pip,wheel --verbose --no-build-isolation --no-binary onedl-mmcv --no-cache-dir \
			--no-deps --wheel-dir "$$part" onedl-mmcv,-u PIP_BUILD_CONSTRAINT MMCV_WITH_OPS=1 \
			$$target); \
		$(PY) -m zipfile -l "$$part"/onedl_mmcv-*.whl | grep -q 'mmcv/_ext' || { \
			echo 'error: the wheel was built without operators, see $(LOG)' >&2; exit 1; }; \
		mkdir -p "$$folder"; mv "$$part"/*.whl "$$folder"; rmdir "$$part"; \
	fi; \
	echo "      $$folder"; \
	$(call pip,install --no-deps --force-reinstall "$$folder"/onedl_mmcv-$(MMCV)-*.whl)
# Without what they ask for: imaug, which mmdet imports, would bring a second OpenCV over the first.
	@echo '[2/3] mmdet, mmseg, lvis and pycocotools'
	@$(call pip,install --no-deps -r requirements/detection.txt)
	@echo '[3/3] does all of it load?'
	@$(PY) -c 'import amt_mm.registry, amt_mm.detection.with_mmdet, amt_mm.detection.with_mmseg' >> $(LOG) 2>&1 || { \
		tail -n 3 $(LOG) >&2; echo 'error: no; all that was said is in $(LOG)' >&2; exit 1; }
	@touch $@

$(TESTS_INSTALLED): $(INSTALLED)
	@echo 'requirements of the tests'
	@rm -f $(VENV)/.tests-*
	@$(call pip,install -r requirements/tests.txt)
	@touch $@

quickstart: $(INSTALLED) ## see the method at work, on generated images or on DATA=FOLDER
	@$(PY) tools/quickstart.py $${DATA:+--data "$$DATA"} --out work_dirs/quickstart $(ARGS)

# Its own environment, since mmpretrain does not run with what the peers need.
RACE := .venv-race
RACE_INSTALLED := $(RACE)/.installed-$(call checksum,lab/race/requirements.txt)

race: $(INSTALLED) $(RACE_INSTALLED) ## compare our MAE with other libraries (ARGS="--minutes 20")
	@$(PY) -m lab.race $${DATA:+--data "$$DATA"} $(ARGS)

$(RACE_INSTALLED): PY := $(RACE)/bin/python
$(RACE_INSTALLED): LOG := $(RACE)/install.log
$(RACE_INSTALLED): PINS := lab/race/requirements.txt
$(RACE_INSTALLED):
	@$(PY) -m pip --version > /dev/null 2>&1 || { $(check_python) && '$(PYTHON)' -m venv $(RACE); }
	@echo '$(RACE), with the peers (to follow it: tail -f $(LOG))'
	@rm -f $(RACE)/.installed-* $(LOG)
	@$(call pip,install --no-deps $(PIP_TORCH) torch torchvision)
	@$(call pip,install -r lab/race/requirements.txt)
	@touch $@

gpu-check: $(TESTS_INSTALLED) ## check and measure on a GPU, 12 minutes (ARGS="--minutes 30")
	@$(PY) -m lab.gpu_check $(ARGS)

# Files stay whole, so that what a file sets up is set up once.
pytest := $(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile --durations 10

test: lint $(DETECTION_INSTALLED) ## run lint and the tests, without the slowest (ARGS="-k masking")
	@FUZZ_TIMES=0.25 $(pytest) -m 'not slow' $(ARGS)

# Some slow tests wait for other processes: what fails under load gets a second run, alone.
test-all: test ## run all tests: make test, then the slow ones and every fuzzing case
	@$(pytest) -m 'slow or fuzz' || { \
		echo 'once more, one at a time: the tests that failed'; \
		$(PY) -m pytest --last-failed --last-failed-no-failures none -m 'slow or fuzz'; }

lint: $(TESTS_INSTALLED) ## check the style of Python and shell files
	@$(PY) -m ruff check .
	@$(VENV)/bin/shellcheck -x tools/*.sh .ci/run

# Its own environment, since it needs nothing of the stack.
DOCS := .venv-docs
DOCS_INSTALLED := $(DOCS)/.installed-$(call checksum,requirements/docs.txt)

# mkdocs-material announces its successor at length (NO_MKDOCS_2_WARNING). With --quiet, MkDocs
# does not count warnings.
docs: $(DOCS_INSTALLED) ## build the site of docs/ and the docstrings; any warning is an error
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict
	@echo 'build/site/index.html'

$(DOCS_INSTALLED): PY := $(DOCS)/bin/python
$(DOCS_INSTALLED): LOG := $(DOCS)/install.log
$(DOCS_INSTALLED): PINS := requirements/docs.txt
$(DOCS_INSTALLED):
	@$(PY) -m pip --version > /dev/null 2>&1 || { $(check_python) && '$(PYTHON)' -m venv $(DOCS); }
	@echo '$(DOCS), with MkDocs (to follow it: tail -f $(LOG))'
	@rm -f $(DOCS)/.installed-* $(LOG)
	@$(call pip,install -r requirements/docs.txt)
	@touch $@

wheel: $(INSTALLED) ## build dist/amt_mm-*.whl, which carries configs and tools
	@rm -rf build
	@$(call pip,wheel --no-deps --wheel-dir dist .)
	@ls dist/*.whl

clean: ## remove builds and caches (not .venv, not work_dirs)
	@rm -rf build dist amt_mm.egg-info .pytest_cache .ruff_cache .hypothesis
	@find amt_mm configs tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
