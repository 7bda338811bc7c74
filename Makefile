# Two commands: `make demo` and `make test`. Both set up .venv first and are fast the second time.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

CONFIG := experiments/siamrpn_alex_tiny/config.yaml
SNAPSHOT := snapshot/siamrpn_alex_tiny/checkpoint_e10.pth
CLIP := FastMotion1
RECT := 61,52,50,32
OUT := demo_output

.PHONY: help setup demo test lint clean

help:
	@echo "make demo   train a small tracker, test and score it, write a video (minutes on two cores)"
	@echo "make test   run the tests"
	@echo "make lint   check style and format"
	@echo "make clean  remove what the demo wrote; the virtual environment stays"

setup: $(READY)

$(READY): requirements.txt pyproject.toml setup.py toolkit/io/_numbers.pyx toolkit/utils/_region.pyx
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

test: $(READY)
	$(PY) -m pytest

demo: $(READY)
	$(PY) tools/make_synthetic.py
	$(PY) tools/train.py --cfg $(CONFIG) --resume auto
	$(PY) tools/test.py --dataset Synthetic --config $(CONFIG) --snapshot $(SNAPSHOT) \
		--name siamrpn_alex_tiny --workers 2
	$(PY) tools/test.py --dataset Synthetic --static
	$(PY) tools/demo.py --config $(CONFIG) --snapshot $(SNAPSHOT) \
		--video testing_dataset/Synthetic/$(CLIP)/img --init-rect $(RECT) \
		--output $(OUT)/tracked.mp4 --json $(OUT)/tracked.json
	$(PY) tools/eval.py -p results -d Synthetic --json $(OUT)/scores.json --plot $(OUT)/plots
	@echo "video: $(OUT)/tracked.mp4   plots: $(OUT)/plots   scores: $(OUT)/scores.json"

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/codespell

clean:
	rm -rf $(OUT) snapshot/siamrpn_alex_tiny logs/siamrpn_alex_tiny results/Synthetic \
		training_dataset/synthetic testing_dataset/Synthetic
