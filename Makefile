# make book        run every chapter and build the book        PROFILE=cpu|smoke|gpu  CHAPTERS=vae  JOBS=1
# make test        everything CI checks: style, types, unit tests, notebooks, graders, book
# make notebooks   run the chapters only
# make steady      run the chapters with three other sets of random numbers: do their assertions hold?
# make exercises   make the release versions of the assignments
# make bench       measure speed against peers
# make clean       remove what make made (build/ and the copied notebooks), not the environment
#
# A chapter runs again when its source, a module its part lists below, the lock or the profile changed, and only then.
# JOBS chapters run at a time: by default one for each core; with PROFILE=gpu one, since they would share the GPU.

# GNU make skips these lines. BSD make takes the first for a rule, and stops at the second.
ifdef BSD_MAKE:
.error GNU make is needed: call gmake
endif

# What each part's chapters import, besides what all of them use.
foundations_MODULES := diagrams.py mixture.py
vae_MODULES := diagrams.py vae.py vector_quantised.py gpt.py lora.py metrics.py judge.safetensors data/text.py data/tokens.py
likelihood_MODULES := diagrams.py likelihood.py vae.py metrics.py judge.safetensors
gan_MODULES := diagrams.py gan.py metrics.py judge.safetensors data/points.py data/games.py benchmarks/gan.json
diffusion_MODULES := diagrams.py diffusion.py dit.py flow_matching.py text_to_image.py gpt.py lora.py vae.py metrics.py judge.safetensors data/points.py data/text.py data/tokens.py
evaluation_MODULES := gan.py vae.py gpt.py lora.py recurrent.py metrics.py text_metrics.py judge.safetensors data/text.py data/tokens.py benchmarks/one_table.json
rl_MODULES := diagrams.py dqn.py playing.py own_games.py gpt.py lora.py text_metrics.py data/text.py data/tokens.py benchmarks/rl.json
language_MODULES := chat.py diagrams.py gpt.py lora.py gpt2_weights.py recurrent.py text_metrics.py data/text.py data/tokens.py benchmarks/language.json
practice_MODULES := dqn.py playing.py own_games.py gan.py gpt.py lora.py vae.py data/text.py data/tokens.py
COMMON_MODULES := __init__.py checks.py tensors.py data/__init__.py data/files.py data/images.py training.py results.py plots.py

PROFILE ?= cpu
CHAPTERS ?= all
VENV ?= .venv
SYSTEM_PYTHON ?= python3
# nproc knows how many cores this process may use, but macOS has none; a variable of OpenMP's would change its answer.
CORES := $(shell unset OMP_NUM_THREADS OMP_THREAD_LIMIT; nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
JOBS ?= $(if $(filter gpu,$(PROFILE)),1,$(or $(CORES),1))

# Without what a person's variables and home say to Python: another package of the same name, no asserts, an encoding.
PYTHON := $(VENV)/bin/python -E -s -X utf8
READY := $(VENV)/.ready
# Above 0, a chapter draws other random numbers; what it makes lies apart, the models that others take over too.
PERTURB ?= 0
ifeq ($(PERTURB),0)
BUILD := build/$(PROFILE)
else
BUILD := build/$(PROFILE)-perturbed-$(PERTURB)
export AIGC_COURSE_DATA := $(CURDIR)/$(BUILD)/data
endif
HTML := $(BUILD)/_build/html
COLAB := build/colab
# One thread for each chapter: several chapters use several cores better than one chapter does. The number is fixed,
# since it changes a loss in its seventh digit.
export OMP_NUM_THREADS := 1
# Threads that wait must sleep, not spin: on a busy machine spinning made the same training many times slower.
export OMP_WAIT_POLICY := passive

ifeq ($(filter smoke cpu gpu,$(PROFILE)),)
$(error PROFILE is '$(PROFILE)'; it takes smoke, cpu or gpu)
endif
ifeq ($(shell expr 'x$(JOBS)' : 'x[1-9][0-9]*$$'),0)
$(error JOBS is '$(JOBS)'; it takes how many chapters run at a time, 1 or more)
endif

# A broken notebook does not stop the others.
MAKEFLAGS += --keep-going --no-print-directory
# A Make that this one calls shares its jobs.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --jobs=$(JOBS)
endif
.DELETE_ON_ERROR:
.SECONDARY:

# The order of the chapters is written once, in _toc.yml.
ALL := $(filter-out exercises/%,$(shell sed -n 's|^ *- file: notebooks/||p' _toc.yml))
ASSIGNMENTS := $(shell sed -n 's|^ *- file: notebooks/exercises/||p' _toc.yml)
CHOSEN := $(if $(filter all,$(CHAPTERS)),$(ALL),$(foreach c,$(CHAPTERS),$(filter $(c) $(c)/% %/$(c),$(ALL))))
$(foreach c,$(filter-out all,$(CHAPTERS)),$(if $(filter $(c) $(c)/% %/$(c),$(ALL)),,\
  $(error CHAPTERS names '$(c)', which is neither a part nor a chapter. There are: $(ALL))))

# The longest chapter of the last run starts first, and one that never ran before all others.
ORDERED := $(shell for c in $(CHOSEN); do \
  s=$$(sed -n 's/.*"seconds": *//p' $(BUILD)/results/$$(basename $$c).json 2>/dev/null); echo "$${s:-99999} $$c"; \
  done | sort -s -k1,1nr | cut -d' ' -f2)
NOTEBOOKS := $(ORDERED:%=$(BUILD)/%.ipynb)
RELEASES := $(ASSIGNMENTS:%=notebooks/exercises/%.ipynb)
SOLUTIONS := $(ASSIGNMENTS:%=build/exercises/%.ipynb)

.PHONY: book test notebooks steady exercises bench clean html lint unit check-notebooks check-book
book: html
	@echo "The book is built. Open $(CURDIR)/$(HTML)/index.html"

notebooks: $(NOTEBOOKS)

STEADY := steady-1 steady-2 steady-3
.PHONY: $(STEADY)
steady: $(STEADY)
$(STEADY): steady-%: | $(READY)
	$(MAKE) notebooks PERTURB=$*

exercises: $(RELEASES) $(SOLUTIONS)

# --- the environment -------------------------------------------------------------------------------------------------

$(READY): requirements.txt pyproject.toml
	@$(SYSTEM_PYTHON) tools/environment.py $(VENV)

# The stamp holds the path of the checkout: an environment that was copied or moved, or lost its Python, is set up again.
ifneq ($(shell test -x $(VENV)/bin/python && cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

# --- a chapter: source -> executed notebook -> checked by a second run -------------------------------------------------

modules_of = $(addprefix aigc_course/,$(COMMON_MODULES) $($(patsubst %/,%,$(dir $(1)))_MODULES))
# A chapter is due when its .due is newer than its notebook. All of these are touched before the first chapter runs, so
# that it can tell how many follow.
define CHAPTER
$(BUILD)/$(1).due: notebooks/$(1).py $(call modules_of,$(1)) requirements.txt
	@mkdir -p $$(@D) && touch $$@
$(BUILD)/$(1).ipynb: $(BUILD)/$(1).due | $(READY) $(CHOSEN:%=$(BUILD)/%.due)
	@$(PYTHON) tools/chapter.py run notebooks/$(1).py $$@ --profile $(PROFILE) --perturb $(PERTURB) --jobs $(JOBS) --chosen $(CHOSEN)
$(BUILD)/$(1).checked: $(BUILD)/$(1).ipynb tools/nbval_strict.py | $(COLAB)/.ready
	@$(PYTHON) tools/chapter.py check $$< --environment $(COLAB)
	@touch $$@
endef
$(foreach c,$(ALL),$(eval $(call CHAPTER,$(c))))

# A chapter that takes over a model runs after the one that trains it.
$(BUILD)/vae/conditional_vae.ipynb: | $(BUILD)/vae/variational_autoencoder.ipynb
$(BUILD)/likelihood/normalising_flows.ipynb: | $(BUILD)/likelihood/autoregressive_pixels.ipynb
$(BUILD)/gan/dcgan.ipynb: | $(BUILD)/gan/adversarial_game.ipynb
$(BUILD)/gan/conditional_gan.ipynb: | $(BUILD)/gan/dcgan.ipynb
$(BUILD)/vae/vector_quantised.ipynb: | $(BUILD)/vae/variational_autoencoder.ipynb
$(BUILD)/diffusion/sampling_and_guidance.ipynb: | $(BUILD)/diffusion/denoising_diffusion.ipynb
$(BUILD)/diffusion/flow_matching.ipynb: | $(BUILD)/diffusion/denoising_diffusion.ipynb
$(BUILD)/diffusion/transformer.ipynb: | $(BUILD)/vae/variational_autoencoder.ipynb $(BUILD)/diffusion/denoising_diffusion.ipynb
$(BUILD)/language/decoding.ipynb $(BUILD)/language/inference.ipynb $(BUILD)/language/fine_tuning.ipynb: | $(BUILD)/language/gpt.ipynb
$(BUILD)/language/chat.ipynb: | $(BUILD)/language/gpt.ipynb
$(BUILD)/language/preferences.ipynb: | $(BUILD)/language/chat.ipynb
$(BUILD)/rl/reward_tuned_generation.ipynb $(BUILD)/evaluation/text_quality.ipynb: | $(BUILD)/language/gpt.ipynb
$(BUILD)/evaluation/image_quality.ipynb: | $(BUILD)/vae/variational_autoencoder.ipynb $(BUILD)/gan/dcgan.ipynb

# What a student has on Colab: the heavy packages and the built wheel, but not the repository.
$(COLAB)/.ready: $(READY) $(shell find aigc_course -name '*.py' -o -name '*.safetensors' -o -name '*.json')
	@$(PYTHON) tools/chapter.py colab $(COLAB)
	@touch $@

check-notebooks: $(ORDERED:%=$(BUILD)/%.checked)

# --- assignments -------------------------------------------------------------------------------------------------------

notebooks/exercises/%.ipynb: notebooks/exercises/%.py tools/exercises.py | $(READY)
	$(PYTHON) tools/exercises.py release $< $@

build/exercises/%.ipynb: notebooks/exercises/%.py tools/exercises.py | $(READY)
	$(PYTHON) tools/exercises.py solution $< $@

# --- the book ----------------------------------------------------------------------------------------------------------

html: $(NOTEBOOKS) $(RELEASES)
	$(PYTHON) tools/book.py stage --profile $(PROFILE)
	$(PYTHON) $(VENV)/bin/jupyter-book build . --path-output $(BUILD) -W -n --keep-going

# --- tests -------------------------------------------------------------------------------------------------------------

# Its own name of a profile, so that `make test` runs in smoke whatever PROFILE says.
test:
	$(MAKE) lint
	$(MAKE) unit
	$(MAKE) check-notebooks PROFILE=smoke
	$(MAKE) check-book PROFILE=smoke

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The shape checks raise before our own errors can, so the tests of those run in a second call without them. The files
# are shared out among JOBS processes. AGAIN=1, for a second version of Python, leaves out the tests marked `once`.
UNIT := -m pytest tests --ignore=tests/test_book.py --numprocesses=$(JOBS) --dist=loadfile --durations=25
unit: $(READY)
	$(PYTHON) $(UNIT) -m "not bad_input$(if $(AGAIN), and not once)" --jaxtyping-packages=aigc_course,beartype.beartype
	$(PYTHON) $(UNIT) -m bad_input

check-book: html
	BOOK_HTML=$(HTML) $(PYTHON) -m pytest tests/test_book.py

# A benchmark wants the machine to itself, and then threads that spin make it steadier. (The sprint is told an entry,
# and the table of all models takes an hour.)
bench: export OMP_WAIT_POLICY := active
bench: $(READY)
	set -e; for script in $(filter-out benchmarks/common.py benchmarks/sprint.py benchmarks/one_table.py,$(wildcard benchmarks/*.py)); do $(PYTHON) $$script; done

clean:
	rm -rf build $(ALL:%=notebooks/%.ipynb) $(RELEASES) book/results.md book/plan.md book/sprint_table.md book/gallery.md book/gallery
