# Two commands for a new user: `make demo` and `make test`. Both set up .venv with pip first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow test-sweep check clean

# demo installs what a run needs; test and check add the tools of development.
.venv/.run: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[hf]'
	touch $@

.venv/.dev: .venv/.run
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: .venv/.run
	$(BIN)/pretrain run recipes/laptop.toml

# One thread a process: two of them and what they start share the cores.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/pytest -n 2 --dist worksteal

# A test that hangs for half an hour shows its stacks and fails; it does not hold up the others.
test: .venv/.dev
	$(PYTEST) -o faulthandler_timeout=1800 -o faulthandler_exit_on_timeout=true \
		-m 'not gpu and not slow and not sweep'

test-slow: .venv/.dev
	$(PYTEST) -m 'not gpu and slow'

# SIGKILL at every call that writes a file, of collect and of curate; twenty kills of each kind of
# run: more than an hour.
test-sweep: .venv/.dev
	$(PYTEST) -m sweep

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build *.egg-info
