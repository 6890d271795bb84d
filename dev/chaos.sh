#!/usr/bin/env bash
# The chaos tests for longer than the ordinary tests run them: instances on a real Kafka are killed, frozen, added and taken away at random
# while records flow; in the end every record must have been counted once.
#   dev/chaos.sh [SECONDS] [RECORDS_A_SECOND]     a program of the library; 600 and 5000 by default
#   dev/chaos.sh brokers [SECONDS]     two instances on three brokers, one of which is killed and brought back every 20 s; 180 by default
#   dev/chaos.sh failover              from an instance's death to its tasks running elsewhere, in each group protocol
#   dev/chaos.sh vigie [SECONDS] [RECORDS_A_SECOND]   the application, release build: topics, state and the stores of every instance; 240 and
#                                                     20000 by default
#   dev/chaos.sh vigie-brokers [SECONDS] [RECORDS_A_SECOND]   the application while brokers die as above; 180 and 2000 by default
# CHAOS_SEED=N repeats a run's choices. VIGIE_BIN=FILE takes that program instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
run() { exec cargo test --locked -p vigie-log-kafka --test main -- --nocapture --exact "$1"; }
application() {
  if [ -z "${VIGIE_BIN:-}" ]; then
    cargo build --locked --release -p vigie
    VIGIE_BIN=$CARGO_TARGET_DIR/release/vigie
  fi
  exec env VIGIE_BIN="$VIGIE_BIN" CHAOS_SECONDS="$1" CHAOS_RATE="$2" cargo test --locked -p vigie --test main -- \
    --exact kafka::chaos::every_record_counts_once_in_topics_and_stores_whatever_happens_to_the_instances --nocapture
}
case ${1:-} in
  brokers) export BROKERS_SECONDS=${2:-180} && run brokers::one_broker_of_three_after_the_other_is_killed_and_nothing_is_lost_or_doubled ;;
  failover) export FAILOVER=all && run failover::the_tasks_of_a_dead_instance_run_elsewhere_after_its_session ;;
  vigie) application "${2:-240}" "${3:-20000}" ;;
  vigie-brokers) export CHAOS_BROKERS=3 CHAOS_INSTANCES=no && application "${2:-180}" "${3:-2000}" ;;
esac
exec env CHAOS_SECONDS="${1:-600}" CHAOS_RATE="${2:-5000}" cargo test --locked -p vigie-log-kafka --test main -- \
  --exact chaos::every_record_counts_once_whatever_happens_to_the_instances --nocapture
