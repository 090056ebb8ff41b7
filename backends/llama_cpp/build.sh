#!/bin/sh
# Build the llama.cpp engine as a wheel and install it: about two minutes the first time, seconds afterwards.
#
#   sh backends/llama_cpp/build.sh          (in the virtual environment that Tollkeeper runs in)
#
# PyPI offers llama-cpp-python as source only. Its default build takes four times as long and makes a wheel six times
# as large: here the unused parts are left out, and no instruction of this machine's CPU beyond AVX2 is assumed. For
# speed on a large model build it without these flags: pip install 'llama-cpp-python[server]'.
set -eu

version=0.3.36
here=$(cd "$(dirname "$0")" && pwd)
wheels=$here/../../wheels
mkdir -p "$wheels"

if ! ls "$wheels"/llama_cpp_python-$version-*.whl >/dev/null 2>&1; then
    for tool in cmake ninja; do
        command -v $tool >/dev/null || python -m pip install --quiet $tool
    done
    export CMAKE_GENERATOR=Ninja
    export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}"
    export CMAKE_ARGS="-DCMAKE_PROJECT_llama_cpp_INCLUDE=$here/trim.cmake -DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF \
        -DGGML_NATIVE=OFF -DGGML_LLAMAFILE=OFF -DGGML_CPU_REPACK=OFF \
        -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1 \
        -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=8"
    export SKBUILD_BUILD_TARGETS=llama
    export SKBUILD_WHEEL_EXCLUDE="lib/**;include/**;bin/**;llama_cpp/lib/*.so.*.*"
    # --no-cache-dir: pip's cache knows no flags, it would hand out a wheel that was built with others.
    python -m pip wheel --quiet --no-deps --no-cache-dir -w "$wheels" llama-cpp-python==$version
fi
wheel=$(ls "$wheels"/llama_cpp_python-$version-*.whl)
python -m pip install --quiet "$wheel[server]"
