# make demo, make test, make run: each installs what it needs into .venv first. Needs python3 (3.11+) and make.
PYTHON ?= $(shell packaging/python)
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo run test faults lint check bench binary clean

demo: $(VENV)/.ready mosquitto
	@$(BIN)/python examples/greenhouse/demo.py

run: $(VENV)/.ready
	@$(BIN)/edged run --app-id play

test: $(VENV)/.ready-test mosquitto sdk
	@packaging/system gcc redis-server psql:postgresql nats-server rabbitmq-server
	@packaging/kafka
	@packaging/test

# kills by the hundred, power cuts, bad disks and garbage, of everything that must not lose anything (docs/reliability.md)
faults: $(VENV)/.ready-test mosquitto
	@packaging/system gcc faketime
	@KILLS=$${KILLS:-50} CUTS=$${CUTS:-20} SEEDS=$${SEEDS:-100} EXAMPLES=$${EXAMPLES:-1000} packaging/test -s --timeout 3600 tests/faults tests/unit/edge/journal/test_model.py tests/unit/edge/database

# 50 messages a second for HOURS, a broker that goes and comes, a look every 5 minutes: sound, flat, nothing lost
.PHONY: soak
soak: $(VENV)/.ready-test mosquitto
	@$(BIN)/python -m tests.faults.soak $${HOURS:-1}

lint check: $(VENV)/.ready-test
	@packaging/check

bench: $(VENV)/.ready-test mosquitto
	@$(BIN)/python bench/compare.py

# the package and what it runs with
$(VENV)/.ready: pyproject.toml packaging/venv
	@packaging/venv $(PYTHON) $(VENV)
	@touch $@

# and what its tests need
$(VENV)/.ready-test: $(VENV)/.ready pyproject.toml
	@packaging/venv $(PYTHON) $(VENV) test
	@touch $@

# the broker of the demo and the tests, where this user may install it
.PHONY: mosquitto
mosquitto:
	@packaging/system mosquitto

# the released Dapr SDKs for JavaScript, Go and Java that tests/sdk runs; quick when nothing changed
.PHONY: sdk
sdk:
	@packaging/system npm
	@packaging/sdk

clean:
	rm -rf $(VENV) .cache build dist *.egg-info

# and what freezes it
$(VENV)/.ready-packaging: $(VENV)/.ready pyproject.toml
	@packaging/venv $(PYTHON) $(VENV) packaging
	@touch $@

# the frozen executable, as one folder and as one file
binary: $(VENV)/.ready-packaging
	@packaging/build

# the executable passes what the source tree passes, within its budgets
.PHONY: test-binary deb
test-binary: $(VENV)/.ready-test mosquitto binary
	@packaging/system psql:postgresql nats-server
	@EDGED_PROGRAM=$(CURDIR)/dist/edged/edged packaging/test -m "not slow or frozen" tests/frozen tests/cli tests/budgets tests/api

# the Debian package of this machine's architecture; with ARCH=arm64 or armhf of that one, by qemu-user in a Debian root (needs root)
deb: $(VENV)/.ready-packaging
	@packaging/deb

# a thermostat actor per room, over a kill
.PHONY: thermostat
thermostat: $(VENV)/.ready
	@$(BIN)/python examples/thermostat/demo.py

# workflows with the Python SDK: beds, approvals, a pump that fails, and a kill on the way
.PHONY: irrigation
irrigation: $(VENV)/.ready-test
	@$(BIN)/python examples/irrigation/demo.py

# an app behind NAT is called through an MQTT broker
.PHONY: behind-nat
behind-nat: $(VENV)/.ready mosquitto
	@$(BIN)/python examples/behind-nat/demo.py

# the package in a clean Debian root: installed, run, upgraded, removed, purged (needs root and debootstrap)
.PHONY: test-deb
test-deb: deb
	@packaging/system debootstrap curl
	@packaging/try-deb

# the package under a booted systemd: qemu starts a Debian 12 with it, kills it, hangs it, cuts its power (needs root and debootstrap)
.PHONY: test-boot
test-boot: deb
	@packaging/system debootstrap qemu-system-x86_64:qemu-system-x86
	@packaging/try-boot

# the container image: built without an engine, run as Kubernetes would (needs root and debootstrap)
.PHONY: test-container
test-container:
	@packaging/system debootstrap curl buildah runc
	@packaging/try-container
