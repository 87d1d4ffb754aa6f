# Every target is one line of `make help`. CLUSTER=local|kind|current chooses the cluster of demo, images
# and test-e2e; see tests/cluster/cluster.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CRD := crds/imagebatches.imagebatch.io.yaml
export CARGO_TERM_COLOR ?= auto

.PHONY: help
help: ## Explain every target.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Bring up a cluster, install the chart, run a sample CSV to its end, and leave it running.
	tests/demo/demo up

.PHONY: demo-down
demo-down: ## End what `make demo` started.
	tests/demo/demo down

.PHONY: test
test: ## Run all tests: lint, unit, integration, chart, end to end. Installs what they need and says so.
	tests/run all

.PHONY: test-it
test-it: ## Run unit and integration tests against a real API server, S3 and the MongoDB protocol.
	tests/run it

.PHONY: test-egress
test-egress: ## Run the tests of the egress guard; they need no server but their own.
	cargo test --test egress

.PHONY: test-e2e
test-e2e: ## Run the end-to-end tests on a real cluster, and the commands of all documents.
	tests/run e2e

.PHONY: test-browser
test-browser: ## Work with the web page in Chromium, on the gateway of `make demo`.
	tests/run browser

.PHONY: test-faults
test-faults: ## Run a batch on a real cluster while pods, stores and hosts fail; the short form, four minutes.
	tests/run faults

.PHONY: soak
soak: ## Twenty failovers of each kind, then the long form of test-faults: 10,000 images and 70 kills, then 100,000 images; a minute without API server; half an hour.
	FAILOVERS=20 tests/run it --test it leader:: -- --nocapture
	FAULTS=long tests/run faults
	FAULTS=none tests/run faults
	TEST_STORM_SECONDS=60 tests/run it --test it scale::an_api_server -- --nocapture

.PHONY: lint
lint: ## Check format, clippy, rustdoc, scripts, the web page, and that what documents name exists.
	tests/run lint

.PHONY: docs
docs: ## Check that what the documents name exists: links, files, targets, values, flags, paths, marks of commands.
	tests/docs/check

.PHONY: chart
chart: ## Lint and render the chart, compare it with its snapshots and pages, test its alerts (UPDATE=1 writes snapshots anew).
	tests/run chart

.PHONY: deny
deny: ## Check licences, banned and duplicate crates, sources, and (with a network) advisories.
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny@0.20.2
	cargo deny check

.PHONY: sbom
sbom: ## Write what the executables are made of into target/sbom/, as CycloneDX.
	command -v cargo-cyclonedx >/dev/null || cargo install --locked cargo-cyclonedx@0.5.9
	tests/image/sbom

.PHONY: image-check
image-check: ## Check size, user and contents of the image (after `make images` without Docker).
	tests/image/check target/images/imagebatch.tar

.PHONY: reproducible
reproducible: ## Pack the images twice and compare them byte for byte (without Docker).
	tests/image/reproducible pack

.PHONY: bench-codec
bench-codec: ## Measure the codec beside sharp, mozjpeg, caesiumclt and Pillow: time, bytes, SSIMULACRA2.
	tests/bench/codec/bench --caesium --json

.PHONY: bench-formats
bench-formats: ## Measure PNG, WebP and AVIF beside sharp: time, bytes, SSIMULACRA2 (after bench-codec, which installs it).
	tests/bench/codec/formats

.PHONY: bench-gateway
bench-gateway: ## Measure status requests beside a bare axum handler, uploads, and 5,000 event streams.
	tests/cluster/services up
	eval "$$(tests/cluster/services env)" && cargo bench --bench gateway

.PHONY: bench-intake
bench-intake: ## Measure intake on a million rows: speed, and memory of gateway, ingest and report.
	tests/cluster/services up
	eval "$$(tests/cluster/services env)" && cargo bench --bench intake

.PHONY: bench-pipeline
bench-pipeline: ## Measure a compressor pod against scripts with sharp and with Pillow that do the same work.
	cargo build --release --bin compressor
	tests/cluster/services up
	eval "$$(tests/cluster/services env)" && tests/bench/pipeline/bench

.PHONY: bench-operator
bench-operator: ## Measure the controller on 1,000 ImageBatches at once and beside 10,000 finished ones, with plain Jobs as the floor.
	cargo build --profile $${IMAGEBATCH_PROFILE:-release} --bin controller
	tests/bench/operator/bench

.PHONY: bench-operator-real
bench-operator-real: ## Measure 50 ImageBatches to their end on the demo's node, with plain Jobs as the floor (after `make demo`).
	eval "$$(tests/demo/demo env)" && tests/bench/operator/bench --real

.PHONY: fuzz
fuzz: ## Fuzz CSV parsing, URL cells, CSV export and every decoder of the codec for a minute each (nightly Rust, cargo-fuzz).
	tests/run fuzz

.PHONY: build
build: ## Build the release binaries.
	cargo build --release --bins

.PHONY: man
man: ## Write the kubectl plugin's man pages into target/man/man1.
	cargo run --quiet --bin kubectl-imagebatch -- man target/man/man1

.PHONY: crds
crds: ## Generate the CustomResourceDefinition into crds/ and the chart, and its reference into docs/.
	cargo run --quiet --bin controller -- crd > $(CRD).new
	mv $(CRD).new $(CRD)
	cp $(CRD) charts/imagebatch/files/crd.yaml
	tests/docs/reference > docs/imagebatch.md.new
	mv docs/imagebatch.md.new docs/imagebatch.md

.PHONY: configuration
configuration: ## Generate the reference of the executables' flags and variables into docs/.
	cargo build --quiet --bin gateway --bin controller --bin compressor
	tests/docs/configuration "$${CARGO_TARGET_DIR:-target}/debug" > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md

.PHONY: openapi
openapi: ## Generate the description of the HTTP API into docs/.
	cargo run --quiet --bin gateway -- openapi > docs/openapi.json.new
	mv docs/openapi.json.new docs/openapi.json

.PHONY: web
web: ## Bundle the web page into web/dist, which is committed.
	PATH=$$(tests/browser/node):$$PATH && cd web && npm ci --loglevel=error && npm run --silent build

.PHONY: images
images: ## Build the container images from local binaries (or with Docker where it runs).
	tests/cluster/images

.PHONY: cluster-up
cluster-up: ## Bring up the tests' cluster and load the images.
	tests/cluster/cluster up

.PHONY: cluster-down
cluster-down: ## End the tests' cluster and everything in it.
	tests/cluster/cluster down

.PHONY: services-down
services-down: ## End the API server, S3 and MongoDB servers of the integration tests.
	tests/cluster/services down
