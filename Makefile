.DEFAULT_GOAL := help
.PHONY: help setup lab test lint docs

YIYUN := .venv/bin/yiyun

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing: system packages, uv, the locked environment
	@scripts/setup

lab: setup ## The whole estate on this machine, verified, with its status screen
	@$(YIYUN) up --yes
	@$(YIYUN) status

test: ## The tests, on a lab estate of their own; what takes minutes each with YIYUN_TEST_LONG=1
	@scripts/setup test
	@scripts/test

lint: setup ## Style, types and the dependency rule
	@scripts/lint

docs: setup ## The documentation as a site in site/
	@. scripts/environment && uv run --frozen --group docs mkdocs build --strict
