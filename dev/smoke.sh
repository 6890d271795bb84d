#!/usr/bin/env bash
# Kafka Streams' own system test with our program in the place of the Java one. Its driver writes 20,000 records for half a minute and then
# compares thirteen output topics, read committed, with what it knows; it ends with SUCCESS or FAILURE.
#
#   dev/smoke.sh calm       two instances, undisturbed
#   dev/smoke.sh instances  instances are killed (SIGKILL) and added every few seconds
#   dev/smoke.sh brokers    three brokers, of which one is killed and brought back
#   dev/smoke.sh            all three, one after the other
# SEED=N repeats a run's choices; KEEP=1 keeps the folder with all logs.
#
# Needs Java 17 and, the first time, Maven. Without Java it says so and ends with 0, with CI=true with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
. dev/say.sh

version=$(sed -n 's|.*<kafka\.version>\(.*\)</kafka\.version>.*|\1|p' dev/smoke/pom.xml)
jars=$VIGIE_CACHE/smoke-$version
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
if ! command -v "$java" >/dev/null; then
  [ "${CI:-}" != true ] || die "there is no java, and CI must not do without"
  say "skipped: there is no java to run Kafka with; install a JDK, version 17 or newer"
  exit 0
fi
SEED=${SEED:-$RANDOM}
RANDOM=$SEED
say "SEED=$SEED"

if [ ! -f "$jars/kafka-streams-$version-test.jar" ]; then
  command -v mvn >/dev/null || die "Maven (mvn) is needed to get Kafka Streams' test; on Debian: apt-get install maven"
  mkdir -p "$VIGIE_CACHE"
  part=$(mktemp -d "$jars.part.XXXXXX")
  say "getting Kafka Streams' test $version"
  mvn -q -B -f dev/smoke/pom.xml dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$part" 2>&1 | without_hosts >&2 ||
    die "Maven could not get it; its message is above"
  chmod 755 "$part"
  mv -T "$part" "$jars" 2>/dev/null || rm -rf "$part"
fi
cargo build --locked -q -p vigie-log-kafka --example smoke
program=$CARGO_TARGET_DIR/debug/examples/smoke

work=$(mktemp -d "${TMPDIR:-/tmp}/vigie-smoke.XXXXXX")
instances=()
finish() {
  local pid
  for pid in "${instances[@]+"${instances[@]}"}"; do kill -KILL "$pid" 2>/dev/null || true; done
  [ ! -f "$work/kafka/cluster" ] || dev/kafka.sh stop --dir "$work/kafka" || true
  if [ "${KEEP:-}" = 1 ]; then say "kept: $work"; else rm -rf "$work"; fi
}
trap finish EXIT

number=0
begin_instance() {
  number=$((number + 1))
  # A folder of its own for each place, not for each life: what is started again finds its stores.
  local place=${1:-$number}
  RUST_BACKTRACE=1 "$program" "$bootstrap" "$work/state-$place" "smoke-$place" </dev/null >>"$work/instance-$place.log" 2>&1 &
  instances[place]=$!
}
end_instance() { # PLACE SIGNAL
  kill -s "$2" "${instances[$1]}" 2>/dev/null || true
  wait "${instances[$1]}" 2>/dev/null || true
  unset "instances[$1]"
}

# Kills one of the instances every few seconds and starts it again, or another beside.
disturb_instances() {
  local places place
  sleep 3
  while kill -0 "$driver" 2>/dev/null; do
    places=("${!instances[@]}")
    place=${places[RANDOM % ${#places[@]}]}
    say "killing instance $place of ${#places[@]}"
    end_instance "$place" KILL
    sleep $((RANDOM % 3))
    begin_instance "$place"
    # Now and then one more, at a place that is free.
    place=$((RANDOM % 3 + 1))
    [ -n "${instances[place]:-}" ] || begin_instance "$place"
    sleep $((3 + RANDOM % 4))
    # The last third belongs to the verifier, which wants its results within minutes.
    [ "$SECONDS" -lt "$1" ] || return 0
  done
}

disturb_brokers() {
  local node
  sleep 5
  while kill -0 "$driver" 2>/dev/null && [ "$SECONDS" -lt "$1" ]; do
    node=$((RANDOM % 3 + 1))
    say "killing broker $node"
    dev/kafka.sh kill "$node" --dir "$work/kafka"
    sleep 5
    dev/kafka.sh resume "$node" --dir "$work/kafka"
    sleep 6
  done
}

run() {
  local kind=$1 nodes=1 place failed=''
  [ "$kind" != brokers ] || nodes=3
  rm -rf "${work:?}"/*
  bootstrap=$(dev/kafka.sh start --nodes "$nodes" --dir "$work/kafka" --owner $$ | sed -n 's/^bootstrap=//p')
  cat >"$work/client.properties" <<END
bootstrap.servers=$bootstrap
processing.guarantee=exactly_once_v2
state.dir=$work/java
END
  "$program" "$bootstrap"
  instances=()
  number=0
  begin_instance
  begin_instance
  SECONDS=0
  "$java" -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -cp "$jars/*" org.apache.kafka.streams.tests.StreamsSmokeTest \
    "$work/client.properties" run >"$work/driver.log" 2>&1 </dev/null &
  driver=$!
  case $kind in
    instances) disturb_instances 45 ;;
    brokers) disturb_brokers 45 ;;
  esac
  wait "$driver" || failed="the driver ended with $?; "
  grep -qx SUCCESS "$work/driver.log" || failed+="no SUCCESS; "
  for place in "${!instances[@]}"; do
    kill -0 "${instances[$place]}" 2>/dev/null || failed+="instance $place has ended by itself; "
    end_instance "$place" KILL
  done
  dev/kafka.sh stop --dir "$work/kafka"
  if [ -n "$failed" ]; then
    tail -n 30 "$work/driver.log" >&2
    tail -n 20 "$work"/instance-*.log >&2
    say "$kind: FAILURE (${failed}SEED=$SEED, KEEP=1 keeps the logs)"
    return 1
  fi
  say "$kind: SUCCESS after $SECONDS s"
}

for kind in "${@:-calm instances brokers}"; do
  # shellcheck disable=SC2086 # the default is three words
  for one in $kind; do
    case $one in
      calm | instances | brokers) run "$one" ;;
      *) die "dev/smoke.sh knows calm, instances and brokers, not '$one'" ;;
    esac
  done
done
