# What all scripts share: the repository's root, where Cargo builds, and a few words. Sourced, not run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Outside the clone, so that a fresh clone finds its dependencies built. An existing setting is honoured.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/oprc/target}
[[ $CARGO_TARGET_DIR == /* ]] || CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR
export CARGO_TARGET_DIR

# Makes the target folder this clone's. Cargo takes the packages of several clones that share a target folder for the same,
# and tells by the time of change alone what is to be built again: without this, a clone would be given what another one has
# built from other source since.
claim_target() {
  local mark=$CARGO_TARGET_DIR/.built-for
  [[ $(cat "$mark" 2>/dev/null) != "$root" ]] || return 0
  mkdir -p "$CARGO_TARGET_DIR"
  find "$root"/{mesh,odgm,host,gateway,cli,tests,wit} -type f ! -path '*/target/*' -exec touch {} +
  printf '%s\n' "$root" >"$mark"
}

# Where the scripts leave what people use: target/oprc, target/guests/*.wasm.
out=$root/target

# rustup puts its programs here; a shell that was open before does not know it yet.
[[ ! -d $HOME/.cargo/bin ]] || PATH=$PATH:$HOME/.cargo/bin

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $1"
  shift
  for line in "$@"; do say "$line"; done
  exit 1
}

# Shows a command as one would type it, then runs it.
show() {
  local word line=
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=-]+$ ]] || word="'$word'"
    line+=" $word"
  done
  printf '\n$%s\n' "$line"
  "$@"
}

# Whether something listens on address $1.
busy() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }

# The process id in file $1, if that process is an oprc that still runs.
running_pid() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [[ -n $pid && $(cat "/proc/$pid/comm" 2>/dev/null) == oprc ]] && echo "$pid"
}

# Stops process $1 with SIGTERM and waits for its end, up to 30 s.
stop_pid() {
  kill -TERM "$1" 2>/dev/null || return 0
  for _ in {1..300}; do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  die "process $1 does not stop"
}

# Waits until the server on $2 is ready. $1 is its process id, $3 its log.
await_ready() {
  for _ in {1..600}; do
    if curl --noproxy '*' --silent --fail --output /dev/null --max-time 2 "http://$2/readyz"; then return 0; fi
    kill -0 "$1" 2>/dev/null || {
      tail -n 20 "$3" >&2
      die "the server ended before it was ready; its log is $3"
    }
    sleep 0.1
  done
  tail -n 20 "$3" >&2
  die "the server is not ready after 60 s; its log is $3"
}
