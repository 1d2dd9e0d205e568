#!/usr/bin/env bash
# Measures orders per second of the engine as a ratio to the floor, a server that does nothing, with wrk.
#
#   bench/ratio.sh [ENGINE_URL [FLOOR_URL]]      default http://127.0.0.1:3000 http://127.0.0.1:3999
#
#   PRODUCT      what is ordered; it must be on sale, with more units than the runs take (default demo)
#   RUNS         of each of the two, interleaved: floor, engine, floor, engine … (default 5)
#   DURATION     of a run, in seconds (default 5)
#   CONNECTIONS  default 64
#   THREADS      of wrk (default 1)
#   DURABILITY   that the orders ask for: fast, replicated or ledger (default: none)
#
# Each run has users of its own. Throughput counts every answer; the column 2xx says how many of them were accepted
# orders, so a sold-out product can't pass for a fast one.
set -euo pipefail
export LC_ALL=C # wrk's and awk's decimal points

ENGINE=${1:-${ENGINE:-http://127.0.0.1:3000}}
FLOOR=${2:-${FLOOR:-http://127.0.0.1:3999}}
RUNS=${RUNS:-5}
DURATION=${DURATION:-5}
CONNECTIONS=${CONNECTIONS:-64}
THREADS=${THREADS:-1}
export PRODUCT=${PRODUCT:-demo}
unset COUNT # counting in Lua would slow wrk down

SCRIPT="$(dirname "${BASH_SOURCE[0]}")/wrk/orders.lua"
readonly SCRIPT
RUN_PREFIX="$(date +%s)-$$"

die() {
  echo "ratio: $*" >&2
  exit 1
}

check_setup() {
  command -v wrk >/dev/null || die "wrk is not installed"
  [[ -r $SCRIPT ]] || die "$SCRIPT is missing"
  local name
  for name in RUNS DURATION CONNECTIONS THREADS; do
    [[ ${!name} =~ ^[1-9][0-9]*$ ]] || die "$name=${!name} is not a positive integer"
  done
}

# base URL → URL of the orders
orders_url() { echo "${1%/}/orders"; }

# base URL, run id → wrk's output
load() {
  RUN="$RUN_PREFIX-$2" timeout "$((DURATION + 30))" \
    wrk "-t$THREADS" "-c$CONNECTIONS" "-d${DURATION}s" --latency -s "$SCRIPT" "$(orders_url "$1")" ||
    die "wrk against $1 ended with $?"
}

# wrk's output on stdin → "req/s answers 2xx socket-errors p99"
summarise() {
  awk '
    /^Requests\/sec:/         { rate = $2 }
    / requests in /           { answers = $1 }
    /Non-2xx or 3xx/          { other = $NF }
    /^ +99%/                  { p99 = $2 }
    /Socket errors:/          { gsub(",", ""); errors = $4 + $6 + $8 + $10 }
    END {
      if (rate == "") exit 1
      printf "%.0f %d %d %d %s\n", rate, answers, answers - other, errors, p99
    }'
}

# numbers, one a line, on stdin → their median
median() {
  sort -n | awk '
    { n[NR] = $1 }
    END { if (NR % 2) print n[(NR + 1) / 2]; else print (n[NR / 2] + n[NR / 2 + 1]) / 2 }'
}

row() { printf '%-8s %4s %12s %12s %12s %8s %10s\n' "$@"; }

# name, base URL, number of the run; sets RATE, ANSWERS and ACCEPTED
measure() {
  local output summary errors p99
  output=$(load "$2" "$1-$3")
  summary=$(summarise <<<"$output") || die "wrk said nothing useful against $2: $output"
  read -r RATE ANSWERS ACCEPTED errors p99 <<<"$summary"
  ((ANSWERS > 0)) || die "no answer from $2"
  row "$1" "$3" "$RATE" "$ANSWERS" "$ACCEPTED" "$errors" "$p99"
}

main() {
  check_setup
  local floor_rates=() engine_rates=() answers=0 accepted=0 run
  row server run req/s answers 2xx errors p99
  for ((run = 1; run <= RUNS; run++)); do
    measure floor "$FLOOR" "$run"
    ((ACCEPTED == ANSWERS)) || die "the floor at $FLOOR did not accept everything: is it the floor?"
    floor_rates+=("$RATE")
    measure engine "$ENGINE" "$run"
    engine_rates+=("$RATE")
    answers=$((answers + ANSWERS))
    accepted=$((accepted + ACCEPTED))
  done
  report "$(printf '%s\n' "${floor_rates[@]}" | median)" "$(printf '%s\n' "${engine_rates[@]}" | median)" \
    "$answers" "$accepted"
}

# median of the floor, median of the engine, answers of the engine, accepted ones
report() {
  awk -v floor="$1" -v engine="$2" -v answers="$3" -v accepted="$4" 'BEGIN {
    printf "\nmedian req/s: floor %.0f, engine %.0f, ratio %.3f\n", floor, engine, engine / floor
    printf "engine answers: %d, of these 2xx: %d (%.2f %%)\n", answers, accepted, 100 * accepted / answers
  }'
}

main
