#!/bin/sh
# An environment for the peers beside refnode's own: sh validation/peers/install.sh [folder], default .venv-peers
set -eu
cd "$(dirname "$0")/../.."
folder="${1:-.venv-peers}"
python -m venv "$folder"
"$folder/bin/pip" install torch==2.13.0
"$folder/bin/pip" install -r validation/peers/requirements.txt
"$folder/bin/pip" install --no-deps -r validation/peers/requirements-torchdyn.txt
"$folder/bin/pip" install -e .
"$folder/bin/python" -m validation.peers.installed
