# The front door: `make` builds, `make test` runs the whole suite. Both install what the build needs (Debian packages).
BUILD ?= build
PACKAGES := g++ cmake ninja-build ccache libpcre2-dev libutf8proc-dev nlohmann-json3-dev libcli11-dev libgtest-dev python3

.PHONY: all packages test clean
all: $(BUILD)/.configured
	cmake --build $(BUILD)

packages:
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	  echo "installing:" $$missing; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

$(BUILD)/.configured: CMakeLists.txt cmake/tests.cmake | packages
	cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release
	touch $@

test: all
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error

clean:
	rm -rf $(BUILD)
