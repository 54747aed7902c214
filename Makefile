# make demo and make test set up everything by themselves on a fresh clone.
VENV := .venv
RUN := $(VENV)/bin/python
# More than there are cores, because the tests mostly wait for processes.
WORKERS ?= 4

.PHONY: clis ray demo serve test test-rest test-all soak browser check house change models tape
.PHONY: pictures reference lock clean help

help:
	@echo "make demo    a small repository, four real Aider agents, no key needed"
	@echo "make test    did I break it: the everyday tests, in 4 minutes         make check   ruff, mypy and sizes"
	@echo "make test-all   every test that CI runs       make soak   the same at full counts, for hours"
	@echo "make browser   what the tests of the HTML report need beside a Chromium"
	@echo "make clis   Claude Code, Codex and forgepair, for the tests that drive them"
	@echo "make ray    Ray, for the tests of a cluster"
	@echo "make serve   the dashboard of this repository's runs, in the browser"
	@echo "make change CHANGE=\"...\"     the real thing, with your keys"
	@echo "make models  refresh the catalogue of models    make tape   record the demo's replies anew"
	@echo "make pictures  the pictures of the docs"
	@echo "make house   the sizes of the product's code, and what passes a limit"
	@echo "make reference   what is made from the program's own tables and imports"

demo: $(VENV)/ready
	@$(RUN) aider_orchestrator.py demo

serve: $(VENV)/ready
	@$(RUN) aider_orchestrator.py serve --open

# The tiers: CONTRIBUTING.md says which tests are everyday. A module with a costly fixture is one group of one worker.
PYTEST = $(RUN) -m pytest -n $(WORKERS) --dist loadgroup -q

test: $(VENV)/ready
	$(PYTEST) --tier everyday

# What `make test` leaves out; CI runs it after that.
test-rest: $(VENV)/ready
	$(PYTEST) --tier rest

test-all: $(VENV)/ready
	$(PYTEST) --tier all

# What drives a Chromium that is there already; without it the tests of the HTML report's looks are skipped.
browser: $(VENV)/ready
	$(RUN) -m pip install -q --disable-pip-version-check -r requirements-browser.txt

# Claude Code and Codex from npm, in a folder of this project's own. Without them, tests that drive them are skipped.
clis:
	sh tools/install_clis.sh

# Ray for the tests of a cluster, in a folder of this project's own: .venv stays without it, as most users have it. That
# it moves no pin is checked first, and that all requirements are met after.
RAY := ray>=2.55,<3
ray: .tools/ray/ready
.tools/ray/ready: $(VENV)/ready requirements.lock
	$(RUN) -m pip install -q --disable-pip-version-check --dry-run -c requirements.lock "$(RAY)"
	rm -rf .tools/ray
	$(RUN) -m pip install -q --disable-pip-version-check --no-deps --target .tools/ray "$(RAY)" msgpack
	PYTHONPATH=.tools/ray $(RUN) -m pip check
	@touch $@

soak: $(VENV)/ready ray
	SOAK=1 $(PYTEST) --tier soak

check: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m tools.house
	$(RUN) -m tools.names

house: $(VENV)/ready
	$(RUN) -m tools.house
	$(RUN) -m tools.names

# The words go through the environment, so that no shell reads them; exec, so that a signal reaches the program.
change: export override CHANGE := $(value CHANGE)
change: $(VENV)/ready
	@exec $(RUN) aider_orchestrator.py --change="$$CHANGE" $(ARGS)

models: $(VENV)/ready
	$(RUN) tools/refresh_models.py

tape: $(VENV)/ready
	$(RUN) -m tools.make_tape

# Of the docs: ONLY=demo makes one group of them. Look at what has changed.
pictures: $(VENV)/ready
	$(RUN) -m tools.make_pictures $(ONLY)

reference: $(VENV)/ready
	$(RUN) -m tools.write_reference
	$(RUN) -m tools.write_faults
	$(RUN) -m tools.write_layers
	$(RUN) -m tools.write_events
	$(RUN) -m tools.write_api
	$(RUN) -m tools.write_action

lock: $(VENV)/ready
	$(RUN) -m pip install -q uv
	$(RUN) -m uv pip compile -q --no-header --universal --python-version 3.11 requirements.txt -o requirements.lock
	$(RUN) -m uv pip compile -q --no-header --universal --python-version 3.11 requirements-dev.txt -c requirements.lock -o requirements-dev.lock

$(VENV)/ready: requirements-dev.lock tools/find_python.sh
	@python=$$(sh tools/find_python.sh) && echo "Setting up $(VENV) with $$python (once)" && "$$python" -m venv --clear $(VENV)
	@$(RUN) -m pip install -q --disable-pip-version-check -r requirements-dev.lock
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
