#!/usr/bin/env bash
# The chaos test for longer than the ordinary tests run it: instances of one program on a real Kafka are killed, frozen, added and taken away
# at random while records flow; in the end every record must have been counted once.
#   dev/chaos.sh [SECONDS] [RECORDS_A_SECOND]     600 and 5000 by default; CHAOS_SEED=N repeats a run's choices
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
exec env CHAOS_SECONDS="${1:-600}" CHAOS_RATE="${2:-5000}" cargo test --locked -p vigie-log-kafka --test main -- \
  --exact chaos::every_record_counts_once_whatever_happens_to_the_instances --nocapture
