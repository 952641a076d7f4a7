# The names CI and people call. Each target installs what it needs by itself; the second run starts in seconds.
#   make demo [CHECK=1] [LAYOUT=middleware|gateway|hybrid] [ENGINE=…] [STORE=memory|local|cookie] [LOGIN=password|afip|oidc]
#                                             the whole story in a browser, or checked headlessly
#   make test · make check                    everything that must hold · types, style, floors
#   make bench [NAME=…] · make soak · make fuzz [DURATION=600]
#   make docs                                 the generated reference pages
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
DURATION ?= 600
export LAYOUT ENGINE STORE LOGIN CHECK DURATION NAME

.PHONY: help demo test check bench soak fuzz docs lock clean

help:
	@sed -n 's/^#   //p' Makefile

demo:
	@tools/bootstrap demo $(if $(CHECK),--browser)
	@exec $(PYTHON) -m examples.shop

test:
	@tools/bootstrap test --browser
	@$(MAKE) --no-print-directory -j 3 static test-python test-browser

# Side by side, for each waits a good part of its time. What the browser library's tests print comes in one piece.
.PHONY: test-python test-browser
test-python:
	@$(PYTHON) -m pytest -n auto --dist loadfile
test-browser:
	@(cd clients/browser && BUILT=1 npm test --silent) >.build/test-browser.log 2>&1; code=$$?; cat .build/test-browser.log; exit $$code

check:
	@tools/bootstrap check
	@$(MAKE) --no-print-directory static

.PHONY: static
static:
	@.venv/bin/ruff check . && .venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo 2>&1 | tail -n 12; exit $${PIPESTATUS[0]}
	@cd clients/browser && npx --no-install tsc --noEmit -p .

bench:
	@tools/bootstrap bench --browser
	@$(PYTHON) -m bench $(NAME)

soak:
	@tools/bootstrap test
	@$(PYTHON) -m bench.soak

fuzz:
	@tools/bootstrap fuzz
	@$(PYTHON) -m bench.fuzz

docs:
	@tools/bootstrap test
	@$(PYTHON) -m tools.docs

lock:
	@tools/lock

clean:
	rm -rf .venv .build .demo clients/browser/node_modules clients/browser/dist
