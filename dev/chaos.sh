#!/usr/bin/env bash
# The chaos test for longer than the ordinary tests run it: instances of one program on a real Kafka are killed, frozen, added and taken away
# at random while records flow; in the end every record must have been counted once.
#   dev/chaos.sh [SECONDS] [RECORDS_A_SECOND]     600 and 5000 by default; CHAOS_SEED=N repeats a run's choices
#   dev/chaos.sh brokers [SECONDS]     two instances on three brokers, one of which is killed and brought back every 20 s; 180 by default
#   dev/chaos.sh failover              from an instance's death to its tasks running elsewhere, in each group protocol
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
run() { exec cargo test --locked -p vigie-log-kafka --test main -- --nocapture --exact "$1"; }
case ${1:-} in
  brokers) export BROKERS_SECONDS=${2:-180} && run brokers::one_broker_of_three_after_the_other_is_killed_and_nothing_is_lost_or_doubled ;;
  failover) export FAILOVER=all && run failover::the_tasks_of_a_dead_instance_run_elsewhere_after_its_session ;;
esac
exec env CHAOS_SECONDS="${1:-600}" CHAOS_RATE="${2:-5000}" cargo test --locked -p vigie-log-kafka --test main -- \
  --exact chaos::every_record_counts_once_whatever_happens_to_the_instances --nocapture
