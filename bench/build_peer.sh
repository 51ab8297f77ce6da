#!/usr/bin/env bash
# llama.cpp v0.5.0 as npm delivers it: its libraries from one package, its source from the other.
# usage: build_peer.sh FOLDER [server]      makes FOLDER/bin/llama-bench; with `server` FOLDER/server/bin/llama-server
set -euo pipefail
mkdir -p "$1/bin" "$1/package"
cd "$1"
if [ ! -d src ]; then
  npm pack --silent @node-llama-cpp/linux-x64@3.22.1 node-llama-cpp@3.22.1 >/dev/null
  tar xzf node-llama-cpp-linux-x64-3.22.1.tgz -C bin --strip-components=3 package/bins/linux-x64
  tar xzf node-llama-cpp-3.22.1.tgz -C package package/llama/gitRelease.bundle
  git clone -q package/package/llama/gitRelease.bundle src
fi
if [ ! -x bin/llama-bench ]; then
  cd bin
  g++ -std=c++17 -O2 -DGGML_BACKEND_DL -I../src/include -I../src/ggml/include -I../src/common -I../src/vendor \
    ../src/tools/llama-bench/*.cpp -o llama-bench -L. -lllama-common -l:libllama.v0.5.0.so -l:libggml.v0.5.0.so \
    -lggml-base '-Wl,-rpath,$ORIGIN' -pthread -ldl
  cd ..
fi
# The server isn't in the packages: all of it is built here, for this CPU.
if [ "${2:-}" = server ] && [ ! -x server/bin/llama-server ]; then
  cmake -S src -B server -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_OPENSSL=OFF -DLLAMA_CURL=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF >/dev/null
  ninja -C server llama-server >/dev/null
fi
