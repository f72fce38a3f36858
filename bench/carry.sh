#!/usr/bin/env bash
# Packs what `bench gpu` needs on a Linux x86-64 machine without network into one file, about 40 MB:
# the repository as committed, Deno, its cache of the few packages that are used, and the Vulkan
# loader. `--llama` adds llama.cpp's Vulkan build, about 20 MB, from the installed peers.
#
#   bench/carry.sh OUT.tar.xz [--llama]
#
# There:
#
#   tar xJf OUT.tar.xz && sparrow-gpu/run --out result.json
set -euo pipefail
usage="usage: bench/carry.sh OUT.tar.xz [--llama]"
out=$(realpath -m "${1:?$usage}")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/sparrow-gpu
mkdir -p "$folder/sparrow"
git archive HEAD | tar x -C "$folder/sparrow"

version=$(deno --version | sed -n 's/^deno \([0-9.]*\).*/\1/p')
(cd "$work" && npm pack --silent "@deno/linux-x64-glibc@$version" && tar xzf deno-linux-x64-glibc-*.tgz)
mv "$work/package/deno" "$folder/deno"
# Where apt is not, the other machine has to have the loader.
(cd "$work" && apt-get download libvulkan1 && dpkg -x libvulkan1_*.deb "$folder/vulkan") ||
  echo "without the Vulkan loader: found no apt here" >&2

# Each program loads what it needs, and nothing else, into a cache of its own.
export DENO_DIR=$folder/deno-dir
(
  cd "$folder/sparrow"
  deno run -A --quiet --no-lock --no-check bench/gpu.ts --help >/dev/null
  deno run -A --quiet --no-lock --no-check bench/peers/process.ts sparrow </dev/null
  deno test --quiet --no-lock --no-check --no-run tests/ops_test.ts tests/golden_test.ts
)
find "$DENO_DIR" -mindepth 1 -maxdepth 1 ! -name npm -exec rm -rf {} +

if [ "${2:-}" = --llama ]; then
  mkdir -p "$folder/sparrow/.cache/peers"
  tar c --exclude='*.bundle' --exclude='@node-llama-cpp/*' --exclude='onnx*' --exclude='@tensorflow' \
    --exclude='@wllama' --exclude='*.d.ts' --exclude='*.map' -C .cache/peers node_modules |
    tar x -C "$folder/sparrow/.cache/peers"
  cp -r .cache/peers/node_modules/@node-llama-cpp/linux-x64-vulkan \
    "$folder/sparrow/.cache/peers/node_modules/@node-llama-cpp/"
fi

cat >"$folder/run" <<'END'
#!/usr/bin/env bash
# Runs `bench gpu` with what lies beside this file; its options are those of `bench gpu`.
here=$(cd "$(dirname "$0")" && pwd)
ldconfig -p 2>/dev/null | grep -q libvulkan.so.1 ||
  export LD_LIBRARY_PATH=$here/vulkan/usr/lib/x86_64-linux-gnu:${LD_LIBRARY_PATH:-}
export DENO_DIR=$here/deno-dir DENO_NO_UPDATE_CHECK=1
exec "$here/deno" run -A --quiet --no-lock --no-check "$here/sparrow/bench/gpu.ts" "$@"
END
chmod +x "$folder/run"
tar c -C "$work" sparrow-gpu | xz -T0 -6 >"$out"
ls -l "$out"
