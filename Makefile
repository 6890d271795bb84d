# The commands of the project. Each is one line here; what it does is in dev/.
# ARGS are passed on, for example: make run ARGS="--port 0 --data /tmp/vigie".

SHELL := bash
ARGS ?=
ONLY ?=

.PHONY: help run test check bench bench-instructions bench-peers docs deny screenshots

help: ## list these commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build the screens and the program, start the demo (ARGS="--port 0 --data DIR")
	@dev/run.sh $(ARGS)

test: ## everything that must pass: formatting, lints, all tests, the real browser (ONLY="ui rust e2e" for a part)
	@dev/test.sh $(ONLY)

check: ## the fast part of it: formatting, lints, unit tests
	@dev/test.sh fmt clippy unit

bench: ## run the benchmarks; each figure is one line of JSON (ARGS="--help" lists them)
	@dev/bench.sh $(ARGS)

bench-instructions: ## count the instructions of the engine's hot paths, compare with the baseline (needs valgrind; ARGS="--update")
	@dev/bench-instructions.sh $(ARGS)

bench-peers: ## Kafka Streams and Vigie on the same topics of a real broker, results compared (needs a JDK; ARGS="--full")
	@dev/bench-peers.sh $(ARGS)

docs: ## the reference of the crates, with warnings as errors
	@dev/test.sh rustdoc

deny: ## licences and known vulnerabilities of the dependencies (needs cargo-deny)
	@dev/deny.sh

screenshots: ## take the pictures of README again, from the running demo
	@dev/screenshots.sh
