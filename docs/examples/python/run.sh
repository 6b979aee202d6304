#!/usr/bin/env bash
# Runs client.py against an `oprc up` of its own: in a virtual environment, with messages made from the .proto files.
# The binary is $OPRC, or the one in the target folder; the component is the counter of guest-examples.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
oprc=${OPRC:-${CARGO_TARGET_DIR:-$root/target}/release/oprc}
component=${1:?usage: run.sh COUNTER.wasm}
port=${PORT:-18080}
work=$(mktemp -d)
server=

cleanup() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
"$work/venv/bin/python" -m grpc_tools.protoc --proto_path="$root/gateway/proto" \
  --python_out="$work" --grpc_python_out="$work" "$root"/gateway/proto/oprc/v1/*.proto

"$oprc" up --listen "127.0.0.1:$port" --data-dir "$work/data" >"$work/log" 2>&1 &
server=$!
until curl --silent --fail "http://127.0.0.1:$port/readyz" >/dev/null; do
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.2
done
curl --silent --show-error --fail --header 'content-type: application/wasm' --upload-file "$component" \
  "http://127.0.0.1:$port/api/v1/classes/Counter" >/dev/null
PYTHONPATH="$work" "$work/venv/bin/python" "$here/client.py" "127.0.0.1:$port"
