#!/usr/bin/env bash
# make bench-peers: Kafka Streams and Vigie on the same topics of one real broker, in the same run. Their results are compared key by key with
# each other and with what the input comes to. Standard output gets one line of JSON a figure; a table of both follows on standard error.
#
#   dev/bench-peers.sh [--records N] [--users N] [--seconds N] [--full] [PART...]     PART: throughput restore latency (all by default)
#   --full     5,000,000 records of 1,000,000 users and a minute of each latency, as the goals are stated; 1,000,000 records otherwise
# KEEP=1 keeps the folder with all logs.
#
# Processor time is that of the client's process, which depends less on what else runs on the machine than time on the wall does.
# Needs Java 17 (javac) and, the first time, Maven.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
. dev/say.sh

records=1000000 users=1000000 seconds=20
parts=()
while [ $# -gt 0 ]; do
  case $1 in
    --records) records=${2:?} && shift 2 ;;
    --users) users=${2:?} && shift 2 ;;
    --seconds) seconds=${2:?} && shift 2 ;;
    --full) records=5000000 users=1000000 seconds=60 && shift ;;
    throughput | restore | latency) parts+=("$1") && shift ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
  esac
done
[ "${#parts[@]}" -gt 0 ] || parts=(throughput restore latency)
wants() { [[ " ${parts[*]} " == *" $1 "* ]]; }

command -v javac >/dev/null || die "a JDK of version 17 or later is needed (javac was not found)"
version=$(sed -n 's|.*<kafka\.version>\(.*\)</kafka\.version>.*|\1|p' dev/peers/pom.xml)
home=$VIGIE_CACHE/peers-$version
if [ ! -f "$home/lib/complete" ]; then
  command -v mvn >/dev/null || die "Maven (mvn) is needed once, to fetch Kafka Streams $version"
  say "fetching Kafka Streams $version"
  mkdir -p "$home/lib"
  mvn -q -B -f dev/peers/pom.xml dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$home/lib" 2>&1 | without_hosts >&2 ||
    die "Maven could not get it; its message is above"
  touch "$home/lib/complete"
fi
if [ -z "${VIGIE_BENCH:-}" ]; then
  say "building vigie-bench (the first build takes some minutes)"
  cargo build --locked --release -q -p vigie-bench >&2
  VIGIE_BENCH=$CARGO_TARGET_DIR/release/vigie-bench
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/vigie-peers.XXXXXX")
running=''
finish() {
  [ -z "$running" ] || kill -KILL "$running" 2>/dev/null || true
  [ ! -f "$work/kafka/cluster" ] || dev/kafka.sh stop --dir "$work/kafka" || true
  if [ "${KEEP:-}" = 1 ]; then say "kept: $work"; else rm -rf "$work"; fi
}
trap finish EXIT
mkdir "$work/classes"
javac -nowarn --release 17 -cp "$home/lib/*" -d "$work/classes" dev/peers/src/main/java/vigie/peers/*.java >&2
cat >"$work/log4j2.properties" <<'END'
status = error
appender.out.type = Console
appender.out.name = OUT
appender.out.target = SYSTEM_ERR
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = OUT
END
# A gigabyte of heap: more only makes it larger.
peer() { java -Xmx1g -XX:-UsePerfData "-Dlog4j2.configurationFile=$work/log4j2.properties" -cp "$work/classes:$home/lib/*" vigie.peers.Peer "$@"; }
vigie() { "$VIGIE_BENCH" "$1" --bootstrap "$bootstrap" "${@:2}"; }
bounded() { timeout --foreground "$1" "${@:2}"; }

# figure NAME ENGINE COMMAND...: runs it, keeps its line of JSON, shows it.
figure() {
  local name=$1 engine=$2 line
  shift 2
  say "$name: $engine"
  line=$("$@" 2>>"$work/$engine.log" | tail -n 1) || true
  if [[ $line != \{* ]]; then
    tail -n 30 "$work/$engine.log" >&2
    die "$name of $engine gave no figure; the end of what it said is above"
  fi
  line="{\"figure\":\"$name\",\"of\":\"$engine\",${line#\{}"
  printf '%s\n' "$line" | tee -a "$work/figures"
}

# What a node needs to hold five million records of each topic and the changelogs, in memory for its caches of pages.
bootstrap=$(dev/kafka.sh start --heap 1g --dir "$work/kafka" --owner $$ | sed -n 's/^bootstrap=//p')
topics() {
  local name
  # Made by whoever writes nothing to them; Kafka's own tool would take a second each.
  for name in "$@"; do vigie produce --topic "$name" --records 0 >>"$work/topics.log" 2>&1; done
}

if wants throughput || wants restore; then
  topics counts-java counts-vigie totals-java totals-vigie
  figure produce vigie vigie produce --topic views --records "$records" --users "$users"
  # Views longer than 100 ms: those that are counted.
  long=$(sed -n 's/.*"long_views":\([0-9]*\).*/\1/p' "$work/figures")
  figure page-count kafka-streams peer page-count --bootstrap "$bootstrap" --topic views --results counts-java --application count-java \
    --state "$work/state-java" --expect "$long" --records "$records"
  figure page-count vigie vigie page-count --record-cache --log kafka --topic views --results counts-vigie --application count-vigie --records "$records"
  figure equal-page-count both vigie compare --of page-count --records "$records" --users "$users" --topic counts-java --topic counts-vigie
  figure user-total kafka-streams peer user-total --bootstrap "$bootstrap" --topic views --results totals-java --application total-java \
    --state "$work/state-java" --expect "$records"
  figure user-total vigie vigie user-total --log kafka --topic views --results totals-vigie --application total-vigie --records "$records" \
    --keys "$users"
  figure equal-user-total both vigie compare --of user-total --records "$records" --users "$users" --topic totals-java --topic totals-vigie
fi
if wants restore; then
  rm -rf "$work/state-java"
  figure restore kafka-streams peer restore --bootstrap "$bootstrap" --topic views --results totals-java --application total-java \
    --state "$work/state-java" --records "$records"
  figure restore vigie vigie restore --log kafka --topic views --results totals-vigie --application total-vigie --records "$records" \
    --keys "$users"
fi

# latency ENGINE MS: one engine's pipe, and the probe around it.
latency() {
  local engine=$1 ms=$2 in=in-$1-$2 out=out-$1-$2 i
  topics "$in" "$out"
  mkfifo "$work/$in"
  # Kept open, so that the pipe's standard input does not end.
  exec 8<>"$work/$in"
  if [ "$engine" = vigie ]; then
    "$VIGIE_BENCH" pipe --bootstrap "$bootstrap" --in "$in" --out "$out" --application "$in" --commit-interval-ms "$ms" \
      <&8 >"$work/$in.out" 2>&1 &
  else
    java -Xmx1g -XX:-UsePerfData "-Dlog4j2.configurationFile=$work/log4j2.properties" -cp "$work/classes:$home/lib/*" vigie.peers.Peer pipe \
      --bootstrap "$bootstrap" --topic "$in" --results "$out" --application "$in" --state "$work/state-java" --commit-ms "$ms" \
      >"$work/$in.out" 2>&1 &
  fi
  running=$!
  for ((i = 0; i < 1200; i++)); do
    ! grep -q running "$work/$in.out" || break
    kill -0 "$running" 2>/dev/null || die "the pipe of $engine ended: $(tail -n 5 "$work/$in.out")"
    sleep 0.1
  done
  figure "latency-$ms" "$engine" peer probe --bootstrap "$bootstrap" --topic "$in" --results "$out" --seconds "$seconds"
  kill -KILL "$running" 2>/dev/null || true
  wait "$running" 2>/dev/null || true
  running=''
  exec 8>&-
}
if wants latency; then
  for ms in 100 10; do
    latency kafka-streams "$ms"
    latency vigie "$ms"
  done
fi

python3 dev/peers/table.py "$work/figures" >&2
