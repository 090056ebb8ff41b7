#!/bin/sh
# Build llama.cpp's own server, `llama-server`, and install it beside this environment's `python`: 5 to 8 minutes on two
# cores the first time, seconds afterwards. The source is that of llama-cpp-python, so both engines are of one version.
#
#   sh backends/llama_cpp/build_server.sh     (in the virtual environment that Tollkeeper runs in)
#
# It uses no instruction of this machine's CPU beyond AVX2 and no GPU: for a large model build llama.cpp as its own
# documentation says, and name the program: `llama_cpp: {binary: /path/of/llama-server}`.
set -eu

version=0.3.36
here=$(cd "$(dirname "$0")" && pwd)
wheels=$here/../../wheels
built=$wheels/llama-server-$version
mkdir -p "$wheels"

if [ ! -x "$built" ]; then
    for tool in cmake ninja; do
        command -v $tool >/dev/null || python -m pip install --quiet $tool
    done
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    python -m pip download --quiet --no-deps --no-binary :all: -d "$work" llama-cpp-python==$version
    tar -xzf "$work"/llama_cpp_python-$version.tar.gz -C "$work"
    cmake -G Ninja -S "$work"/llama_cpp_python-$version/vendor/llama.cpp -B "$work"/build -DCMAKE_BUILD_TYPE=Release \
        -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF \
        -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_LLAMAFILE=OFF >/dev/null
    cmake --build "$work"/build --target llama-server \
        --parallel "${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}" >/dev/null
    strip "$work"/build/bin/llama-server
    mv "$work"/build/bin/llama-server "$built"
fi
cp "$built" "$(python -c 'import sysconfig; print(sysconfig.get_path("scripts"))')"/llama-server
