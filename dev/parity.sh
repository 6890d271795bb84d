#!/usr/bin/env bash
# The oracle of the engine: runs Kafka Streams' own TopologyTestDriver (dev/parity, Java) over scenarios.
#   dev/parity.sh run SCENARIOS RESULTS   one JSON line per topology in, lines of results out (called by the parity tests)
#   dev/parity.sh compile                 only fetch the jars and compile
#   dev/parity.sh bless [NAME,NAME]       make the committed golden outputs anew (of these topologies, or of all)
#   dev/parity.sh book                    list the topologies anew in docs/parity.md (bless does so too)
#   dev/parity.sh check                   make them all anew and compare, as `make test` does with a part of them
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
. dev/say.sh

version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' dev/parity/pom.xml)
home="$VIGIE_CACHE/parity/$version"

compile() {
  command -v javac >/dev/null || die "a JDK of version 17 or later is needed (javac was not found)"
  mkdir -p "$VIGIE_CACHE/parity"
  # One at a time: several tests may ask for it at once.
  exec 9>"$VIGIE_CACHE/parity/lock"
  flock 9
  if [ ! -f "$home/lib/complete" ]; then
    command -v mvn >/dev/null || die "Maven (mvn) is needed once, to fetch Kafka Streams $version"
    say "fetching Kafka Streams $version"
    mvn -q -B -f dev/parity/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$home/lib" 2>&1 | without_hosts >&2
    touch "$home/lib/complete"
  fi
  # The sources' own sum names the folder of the classes, so that two checkouts do not mix theirs.
  sum=$(cat dev/parity/src/main/java/vigie/parity/*.java | sha256sum | cut -c1-16)
  classes="$home/classes-$sum"
  if [ ! -f "$classes/complete" ]; then
    mkdir -p "$classes"
    javac -nowarn --release 17 -cp "$home/lib/*" -d "$classes" dev/parity/src/main/java/vigie/parity/*.java >&2
    touch "$classes/complete"
  fi
  exec 9>&-
}

run() {
  compile
  # RocksDB keeps its files for the moment of one scenario only: memory is the place for them.
  local tmp=/dev/shm
  [ -w "$tmp" ] || tmp=${TMPDIR:-/tmp}
  scratch=$(mktemp -d "$tmp/vigie-parity.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  java -Xmx1g -XX:+UseSerialGC -Djava.io.tmpdir="$scratch" -cp "$classes:$home/lib/*" vigie.parity.Main "$1" "$2"
}

case "${1:-}" in
run) run "$2" "$3" ;;
compile) compile ;;
bless) VIGIE_PARITY=bless VIGIE_PARITY_ONLY="${2:-}" cargo test -q -p vigie-streams --test parity -- --nocapture kafka_streams_says_the_same the_book_lists ;;
book) VIGIE_PARITY=bless cargo test -q -p vigie-streams --test parity the_book_lists ;;
check) VIGIE_PARITY=all cargo test -q -p vigie-streams --test parity kafka_streams_says_the_same -- --nocapture ;;
*) sed -n '2,/^set/p' "$0" | sed '$d;s/^# \{0,1\}//' >&2; exit 2 ;;
esac
