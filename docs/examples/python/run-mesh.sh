#!/usr/bin/env bash
# Runs mesh_client.py, in a virtual environment, against an `oprc up` of its own that asks for keys and for the mesh's
# secret. The binary is $OPRC, or the one in the target folder; the component is the counter of guest-examples.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
oprc=${OPRC:-${CARGO_TARGET_DIR:-$root/target}/release/oprc}
component=${1:?usage: run-mesh.sh COUNTER.wasm}
port=${PORT:-18080}
mesh=tcp/127.0.0.1:${MESH_PORT:-17447}
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
"$work/venv/bin/pip" install --quiet --requirement "$here/requirements-mesh.txt"

(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$work/mesh-secret")
"$oprc" up --listen "127.0.0.1:$port" --data-dir "$work/data" --auth \
  --mesh-listen "$mesh" --mesh-secret-file "$work/mesh-secret" >"$work/log" 2>&1 &
server=$!
until curl --silent --fail "http://127.0.0.1:$port/readyz" >/dev/null; do
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.2
done
export OPRC_SERVER=http://127.0.0.1:$port OPRC_KEY_FILE=$work/data/root-key
"$oprc" deploy "$component" --class Counter >/dev/null
"$oprc" key create python --scope invoke:Counter,read:Counter >"$work/key"
"$work/venv/bin/python" "$here/mesh_client.py" "$mesh" "$work/mesh-secret" "$work/key"
