#!/usr/bin/env bash
# Writes a CPU profile of a service at its peak, by which `make build` has the compiler lay out and inline the hot path.
#
#   bench/profile.sh FILE      `make profile` names the one that the build takes
#
#   BINARY   default bin/flashsale
#   SECONDS_PROFILED   default 30
#
# The service runs on stores of its own, in a folder that goes again; the bench that sends the orders is another process, so it
# is not in the profile.
set -euo pipefail

FILE=${1:?name the file that the profile goes to}
BINARY=${BINARY:-bin/flashsale}
SECONDS_PROFILED=${SECONDS_PROFILED:-30}
URL=http://127.0.0.1:3900
PROFILER=127.0.0.1:3901
WARMUP=3 # until the service is at its peak, in seconds
readonly FILE BINARY SECONDS_PROFILED URL PROFILER WARMUP

folder=$(mktemp -d)
chmod 755 "$folder" # Postgres runs as a user of its own
service=
cleanup() {
  [ -z "$service" ] || { kill -INT "$service" 2>/dev/null && wait "$service"; } || true
  rm -rf "$folder"
}
trap cleanup EXIT

ADMIN_TOKEN=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export ADMIN_TOKEN
AUTH=none HOST=127.0.0.1 PORT=${URL##*:} METRICS_ADDR=$PROFILER PPROF=true LOG_LEVEL=warn DATA_DIR=$folder \
  "$BINARY" serve --dev >"$folder/log" 2>&1 &
service=$!
curl -fsS --retry 60 --retry-delay 1 --retry-all-errors -o /dev/null "$URL/readyz" 2>"$folder/wait" \
  || { cat "$folder/log" "$folder/wait" >&2; exit 1; }

curl -fsS --retry 3 --retry-connrefused -o "$folder/profile" \
  "http://$PROFILER/debug/pprof/profile?seconds=$SECONDS_PROFILED" &
profile=$!
"$BINARY" bench run --target "$URL" --scenario sustained --warmup "${WARMUP}s" --duration "$((SECONDS_PROFILED + 2))s"
wait "$profile"
mv "$folder/profile" "$FILE"
