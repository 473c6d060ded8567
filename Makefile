# make help lists the targets. PYTHON chooses the interpreter that the environment is made from;
# PIP_FLAGS goes to pip. Windows: the README has the same commands without make.

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/installed
REPORT := demo/predict/report.html

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-real docs notebook test check

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

venv: $(STAMP)  ## make .venv and install everything into it (quick when done already)

$(STAMP): $(wildcard requirements*.txt) constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	sys.exit(sys.version_info < (3, 11) and f"found Python {v}, expected 3.11 or newer; give another one: make venv PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet $(PIP_FLAGS) -r requirements-dev.txt -c constraints.txt
	@touch $@

# Generated scenes, the shipped weights trained on for a little and used on test scenes: no GPU, no
# downloads.
demo: $(STAMP)  ## sample data, shipped weights trained on for a little, change maps with those shipped
	$(RUN) data_processing/sample_data.py --data-root demo/data --dataset both --scene-size 256 --num-train 3 --num-val 1 --num-test 2 --seed 2026 --overwrite
	$(RUN) Train_Dynamic.py --data-root demo/data --output-dir demo/train_dynamic --overwrite --checkpoint best_model/Pretrained_model_Dynamic.pth --epochs 4 --batch-size 8 --width 32 --lr 0.0003
	$(RUN) Test_Dynamic.py --data-root demo/data --output-dir demo/test_dynamic --overwrite
	$(RUN) Test_SpaceNet7.py --data-root demo/data --output-dir demo/test_spacenet7 --overwrite
	$(RUN) Predict.py --images demo/data/Images_Dynamic/test/Scene03/train_images --output-dir demo/predict --overwrite
	@echo
	@echo 'Done. Look at'
	@echo '  demo/train_dynamic/learning_curve.png     the shipped weights, trained on'
	@echo '  demo/test_dynamic/maps/*/overview.png     change maps of 6 dates'
	@echo '  demo/test_spacenet7/maps/*/overview.png   change maps of 9 dates'
	@echo '  demo/predict/report.html                  a series without labels: what changed, when, how sure'

# A real scene: Sentinel-2 out of a Python package (11 MB), read as a zip and not installed.
NRT := nrt-0.2.1-py3-none-any.whl
demo-real: $(STAMP)  ## clear-cuts seen by Sentinel-2 (downloads 11 MB), change maps with the shipped weights
	test -f demo/real/$(NRT) || $(RUN) -m pip download $(PIP_FLAGS) --no-deps --dest demo/real nrt==0.2.1
	$(RUN) data_processing/prepare_romania.py --source demo/real/$(NRT) --data-root demo/real
	$(RUN) Test_Dynamic.py --data-root demo/real --output-dir demo/test_real --overwrite
	@echo
	@echo 'Done. The labels are derived by a rule, not observed on the ground. Look at'
	@echo '  demo/test_real/maps/Scene01/overview.png   images, derived change, change maps'
	@echo '  demo/test_real/metrics.json                scores against the derived labels'

# Its first page shows the report of the demo, which is written if it is not there.
docs: $(STAMP) $(REPORT)  ## the documentation as a site: site/index.html
	$(RUN) -m pip install --quiet $(PIP_FLAGS) -r requirements-docs.txt -c constraints.txt
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict
	@echo
	@echo 'Done. Look at site/index.html; for the search: python -m http.server -d site'

notebook: $(STAMP)  ## the outputs in docs/notebooks anew
	$(RUN) -m pip install --quiet $(PIP_FLAGS) -r requirements-docs.txt -c constraints.txt
	$(VENV)/bin/jupyter execute --inplace docs/notebooks/first_map.ipynb

$(REPORT): | $(STAMP)
	$(RUN) data_processing/sample_data.py --data-root demo/data --dataset both --scene-size 256 --num-train 3 --num-val 1 --num-test 2 --seed 2026 --overwrite
	$(RUN) Predict.py --images demo/data/Images_Dynamic/test/Scene03/train_images --output-dir demo/predict --overwrite

# One thread each: two processes that fight for the same cores take many times as long.
test: $(STAMP)  ## the whole test suite, two files at a time
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

check: $(STAMP)  ## linter, formatter, type checker
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
