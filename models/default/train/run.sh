#!/usr/bin/env bash
# From packages to GGUF in one command: bash run.sh WORK [options of train.py]
# Needs npm, apt-get and dpkg (Debian), Node.js or Deno, Python 3.11+. Stop it at any time and run it again:
# every step that is done is skipped, and training goes on from its checkpoint.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1
shift
mkdir -p "$work"
if [ ! -x "$work/venv/bin/python" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -r "$here/requirements.txt"
fi
python=$work/venv/bin/python
"$python" "$here/fetch.py" "$work"
[ -f "$work/data/summary.json" ] || "$python" "$here/data.py" "$work"
"$python" "$here/train.py" "$work" "$@"
"$python" "$here/export.py" "$work" "$work/model.gguf"
"$python" "$here/evaluate.py" "$work"
