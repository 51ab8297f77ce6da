# The front door: `make` builds, `make demo` answers a question, `make serve` serves the demo
# model on port 8737, `make test` runs the whole suite, `make fuzz SECONDS=600`
# fuzzes for longer. Each installs what it needs (Debian packages).
BUILD ?= build
SECONDS ?= 60
PACKAGES := g++ cmake ninja-build ccache libpcre2-dev libutf8proc-dev nlohmann-json3-dev libcli11-dev libboost-dev libspdlog-dev libfmt-dev
TEST_PACKAGES := libgtest-dev python3 clang libclang-rt-14-dev clang-format clang-tidy
NODE_PACKAGES := $(if $(shell command -v npm),,nodejs npm)  # for tests with real clients and of the page

.PHONY: all demo serve test fuzz clean packages test_packages
all: $(BUILD)/build.ninja
	cmake --build $(BUILD) --target strata

# The program with the CUDA backend, whatever else is built; needs nvcc 13 (in /usr/local/cuda, or CUDA_PATH).
cuda: packages
	cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DSTRATA_CUDA=ON
	cmake --build $(BUILD) --target strata

demo: all
	$(BUILD)/strata run models/demo "What is the capital of France?"

serve: all
	$(BUILD)/strata serve

test: test_packages
	tools/test.sh $(BUILD)

fuzz: test_packages
	tools/fuzz.sh run $(BUILD)/fuzz $(SECONDS)

packages:
	@tools/install_packages.sh $(PACKAGES)

test_packages:
	@tools/install_packages.sh $(PACKAGES) $(TEST_PACKAGES) $(NODE_PACKAGES)

$(BUILD)/build.ninja: | packages
	cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DSTRATA_TESTS=OFF

clean:
	rm -rf $(BUILD)
