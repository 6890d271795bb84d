#!/usr/bin/env bash
# Real Apache Kafka on this machine, without containers: one node, or three, on free ports of 127.0.0.1.
#
#   dev/kafka.sh start [--nodes 1|3] [--sasl] [--dir D] [--heap 512m] [--quick] [--set NAME=VALUE] [--owner PID]
#   dev/kafka.sh stop [--dir D]            end all nodes in good order
#   dev/kafka.sh kill N [--dir D]          end node N as a crash would (SIGKILL)
#   dev/kafka.sh pause N | unpause N       freeze node N: its port is open, nothing answers
#   dev/kafka.sh resume N [--dir D]        start node N again on the same port
#   dev/kafka.sh status [--dir D]          one line a node
#   dev/kafka.sh tool CLASS [ARGS] [--dir D]   one of Kafka's own programs (kafka-topics is topics, and so on)
#   dev/kafka.sh fetch                     fill the cache only
#
# `start` prints, on standard output, `name=value` lines: dir, bootstrap, pid1 and so on. A folder that was used before is
# used again: same ports, same records.
#   --sasl   three listeners a node: `bootstrap` wants SCRAM-SHA-512 or PLAIN, `sasl_ssl` the same (or OAUTHBEARER, unsigned) inside TLS,
#            `ssl` a client's certificate; access rules are in force. Users (password = name followed by "-secret"): admin may do
#            everything; app what docs/kafka.md grants to a program whose names begin with "app"; nobody nothing.
#   --quick  for short tests: the JVM compiles less
#   --owner  when that process has ended, the nodes are killed and the folder is removed
#
# Needs Java 17 and, the first time, Maven. Ends only what it started: a process id counts only while the process
# carries this folder in its arguments.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/env.sh"
. "$here/say.sh"

version=$(sed -n 's|.*<kafka\.version>\(.*\)</kafka\.version>.*|\1|p' "$here/kafka/pom.xml")
jars=$VIGIE_CACHE/kafka-$version
java=${JAVA_HOME:+$JAVA_HOME/bin/}java

# ---- jars

# Copied beside and renamed: two first starts at once cannot see each other's half.
fetch() {
  [ ! -f "$jars/kafka_2.13-$version.jar" ] || return 0
  command -v mvn >/dev/null || die "Maven (mvn) is needed to get Kafka $version; on Debian: apt-get install maven"
  mkdir -p "$VIGIE_CACHE"
  local part
  part=$(mktemp -d "$jars.part.XXXXXX")
  say "getting Kafka $version"
  if ! mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$part" 2>&1 | without_hosts >&2; then
    rm -rf "$part"
    die "Maven could not get Kafka $version; its message is above"
  fi
  chmod 755 "$part"
  mv -T "$part" "$jars" 2>/dev/null || rm -rf "$part"
  [ -f "$jars/kafka_2.13-$version.jar" ] || die "there is no Kafka in $jars; remove that folder and try again"
}

# ---- processes

pid_of() {
  local pid
  pid=$(cat "$dir/node$1/pid" 2>/dev/null) || return 1
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "-Dvigie.node=$dir/node$1 " || return 1
  printf '%s' "$pid"
}

# A killed JVM holds its ports until its last thread is gone; one that nobody reaps stays a zombie for ever.
gone() {
  local state
  state=$(ps -o stat= -p "$1" 2>/dev/null) || return 0
  [[ $state == Z* && $state != *l* ]]
}

end_nodes() { # SIGNAL NODE...
  local signal=$1 n pid i
  shift
  local pids=()
  for n in "$@"; do
    pid=$(pid_of "$n") || continue
    pids+=("$pid")
    kill -s "$signal" "$pid" 2>/dev/null || true
    kill -s CONT "$pid" 2>/dev/null || true
  done
  for pid in "${pids[@]}"; do
    for ((i = 0; i < 300; i++)); do
      ! gone "$pid" || break
      # Without a majority of controllers the last nodes would wait for a permission to go.
      [ "$i" -ne 150 ] || kill -s KILL "$pid" 2>/dev/null || true
      sleep 0.1
    done
  done
  for n in "$@"; do rm -f "$dir/node$n/pid"; done
}

launch() {
  local n=$1 home=$dir/node$1 quick_flags=()
  [ "$quick" = no ] || quick_flags=(-XX:TieredStopAtLevel=1 -XX:+UseSerialGC)
  : >>"$home/log"
  wc -c <"$home/log" >"$home/log-start"
  # Detached, so that a test that reads our output does not wait for the node.
  nohup "$java" "-Xmx$heap" "${quick_flags[@]}" -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
    -Djava.net.preferIPv4Stack=true "-Dlog4j2.configurationFile=$dir/log4j2.properties" \
    -cp "$jars/*" "-Dvigie.node=$home" kafka.Kafka "$home/server.properties" >>"$home/log" 2>&1 </dev/null &
  echo $! >"$home/pid"
  disown $!
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

ready() {
  tail -c "+$(($(cat "$dir/node$1/log-start") + 1))" "$dir/node$1/log" | grep -q 'Kafka Server started' && port_open "$(port_of "$1")"
}

bring_up() {
  local n i
  for n in "$@"; do launch "$n"; done
  for n in "$@"; do
    for ((i = 0; ; i++)); do
      ! ready "$n" || break
      if ! pid_of "$n" >/dev/null || [ "$i" -gt 1200 ]; then
        tail -n 20 "$dir/node$n/log" >&2
        end_nodes KILL "$@"
        return 1
      fi
      sleep 0.1
    done
  done
}

# ---- configuration

nodes=1 sasl=no heap=512m quick=no owner='' ports='' settings=()
port_of() { echo "${ports%% *}" | awk -v n="$1" -F, '{ print $n }'; }
# Four ports a node: clients, SASL_SSL, SSL, controllers; "a,b,c d,e,f g,h,i j,k,l".
ports_of_kind() { echo "$ports" | awk -v k="$1" '{ print $k }'; }
list() { local p out=''; for p in $(ports_of_kind "$1" | tr , ' '); do out+=,127.0.0.1:$p; done; echo "${out#,}"; }

# Below the range from which the system itself takes ports for outgoing connections.
choose_ports() {
  local kind n port chosen=' ' group all=()
  for kind in 1 2 3 4; do
    group=''
    for ((n = 1; n <= nodes; n++)); do
      while :; do
        port=$((20000 + RANDOM % 12000))
        [[ $chosen != *" $port "* ]] && ! port_open "$port" && break
      done
      chosen+="$port "
      group+=,$port
    done
    all+=("${group#,}")
  done
  ports="${all[*]}"
}

save() {
  { printf 'nodes=%q\nsasl=%q\nheap=%q\nquick=%q\nports=%q\n' "$nodes" "$sasl" "$heap" "$quick" "$ports"; } >"$dir/cluster"
}
load() { [ -f "$dir/cluster" ] || die "nothing was started in $dir"; . "$dir/cluster"; }

certificates() {
  local tls=$dir/tls name
  [ ! -f "$tls/server.pem" ] || return 0
  command -v openssl >/dev/null || die "--sasl needs openssl; on Debian: apt-get install openssl"
  mkdir -p "$tls"
  for name in ca other-ca; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=vigie-$name" -addext basicConstraints=critical,CA:TRUE \
      -keyout "$tls/$name.key" -out "$tls/$name.pem" 2>>"$tls/log"
  done
  sign() { # NAME SUBJECT EXTENSIONS
    openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$tls/$1.key" -out "$tls/$1.csr" 2>>"$tls/log"
    openssl x509 -req -in "$tls/$1.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 3650 \
      -extfile <(printf '%s\n' basicConstraints=critical,CA:FALSE "$3") -out "$tls/$1.crt" 2>>"$tls/log"
    cat "$tls/$1.key" "$tls/$1.crt" "$tls/ca.pem" >"$tls/$1.pem"
  }
  sign server /CN=localhost subjectAltName=DNS:localhost,IP:127.0.0.1
  sign client /CN=app keyUsage=digitalSignature
}

properties() { # NODE
  local n=$1 voters='' i copies=1 in_sync=1
  [ "$nodes" -eq 1 ] || copies=3 in_sync=2
  for ((i = 1; i <= nodes; i++)); do voters+=,$i@127.0.0.1:$(ports_of_kind 4 | cut -d, -f"$i"); done
  local own=() kind
  for kind in 1 2 3 4; do own+=("127.0.0.1:$(ports_of_kind "$kind" | cut -d, -f"$n")"); done
  cat <<END
process.roles=broker,controller
node.id=$n
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
log.dirs=$dir/node$n/data
# Event times may be years old; retention by age goes by them.
log.retention.ms=-1
auto.create.topics.enable=false
default.replication.factor=$copies
min.insync.replicas=$in_sync
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$copies
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$in_sync
# Seconds instead of minutes, so that a test sees a member or a node die.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
group.consumer.assignment.interval.ms=0
group.streams.initial.rebalance.delay.ms=0
group.streams.min.session.timeout.ms=1000
group.streams.session.timeout.ms=6000
group.streams.min.heartbeat.interval.ms=100
group.streams.heartbeat.interval.ms=500
group.streams.assignment.interval.ms=0
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=1000
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
log.segment.delete.delay.ms=1000
END
  if [ "$sasl" = no ]; then
    echo "listeners=CLIENT://${own[0]},CONTROLLER://${own[3]}"
    echo "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT"
  else
    local scram=org.apache.kafka.common.security.scram.ScramLoginModule plain=org.apache.kafka.common.security.plain.PlainLoginModule
    local listener
    cat <<END
listeners=CLIENT://${own[0]},TLS://${own[1]},MUTUAL://${own[2]},CONTROLLER://${own[3]}
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,TLS:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
# ANONYMOUS is who speaks between controllers; nobody else can be.
super.users=User:admin;User:ANONYMOUS
listener.name.mutual.ssl.client.auth=required
listener.name.mutual.ssl.principal.mapping.rules=RULE:^CN=(.*?)\$/\$1/
listener.name.tls.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="app";
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.tls.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN,OAUTHBEARER
END
    for listener in client tls; do
      cat <<END
listener.name.$listener.scram-sha-512.sasl.jaas.config=$scram required username="admin" password="admin-secret";
listener.name.$listener.plain.sasl.jaas.config=$plain required username="admin" password="admin-secret" user_admin="admin-secret" user_app="app-secret" user_nobody="nobody-secret";
END
    done
    for listener in tls mutual; do
      cat <<END
listener.name.$listener.ssl.keystore.type=PEM
listener.name.$listener.ssl.keystore.location=$dir/tls/server.pem
listener.name.$listener.ssl.truststore.type=PEM
listener.name.$listener.ssl.truststore.location=$dir/tls/ca.pem
END
    done
  fi
  printf '%s\n' "${settings[@]+"${settings[@]}"}"
}

log4j() {
  cat <<'END'
status = error
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = OUT
END
}

short_jvm() { "$java" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData "-Dlog4j2.configurationFile=$dir/tools.properties" -cp "$jars/*" "$@"; }

format() { # NODE
  local user users=()
  [ ! -f "$dir/node$1/data/meta.properties" ] || return 0
  if [ "$sasl" = yes ]; then
    for user in admin app nobody; do users+=(--add-scram "SCRAM-SHA-512=[name=$user,password=$user-secret]"); done
  fi
  short_jvm kafka.tools.StorageTool format --cluster-id "$(cat "$dir/cluster-id")" --config "$dir/node$1/server.properties" \
    "${users[@]+"${users[@]}"}" >>"$dir/node$1/log" 2>&1
}

# What docs/kafka.md tells an operator to grant, word for word.
acls() {
  local rule jobs=()
  while read -r rule; do
    # shellcheck disable=SC2086 # a rule is several words
    short_jvm org.apache.kafka.tools.AclCommand --bootstrap-server "$(list 1)" --command-config "$dir/client.properties" --add $rule >>"$dir/acls.log" 2>&1 &
    jobs+=($!)
  done < <(sed -n 's/^kafka-acls\.sh .*--add //p' "$here/../docs/kafka.md")
  [ "${#jobs[@]}" -gt 0 ] || die "docs/kafka.md lists no access rules"
  for rule in "${jobs[@]}"; do wait "$rule" || die "an access rule was refused: $(tail -n 5 "$dir/acls.log")"; done
}

# ---- commands

start() {
  local n attempt fresh=yes all
  [ "$nodes" = 1 ] || [ "$nodes" = 3 ] || die "--nodes is 1 or 3"
  command -v "$java" >/dev/null || die "there is no java; install a JDK, version 17 or newer, or set JAVA_HOME"
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  [[ $dir != *[[:space:],\"%\#?\\]* ]] || die "$dir holds a character that Kafka's property files do not take"
  if [ -f "$dir/cluster" ]; then load && fresh=no; fi
  for ((n = 1; n <= nodes; n++)); do ! pid_of "$n" >/dev/null || die "node $n runs already in $dir; stop it first"; done
  fetch
  log4j >"$dir/log4j2.properties"
  log4j | sed 's/level = info/level = warn/' >"$dir/tools.properties"
  echo 'appender.out.target = SYSTEM_ERR' >>"$dir/tools.properties"
  [ -f "$dir/cluster-id" ] || head -c 16 /dev/urandom | base64 | tr '+/' '-_' | sed 's/^-/v/; s/=*$//' >"$dir/cluster-id"
  [ "$sasl" = no ] || certificates
  all=$(seq 1 "$nodes")
  for attempt in 1 2 3; do
    [ "$fresh" = no ] || choose_ports
    save
    { echo "bootstrap.servers=$(list 1)"; if [ "$sasl" = yes ]; then
      printf '%s\n' security.protocol=SASL_PLAINTEXT sasl.mechanism=SCRAM-SHA-512 \
        'sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="admin-secret";'
    fi; } >"$dir/client.properties"
    local jobs=()
    for n in $all; do
      mkdir -p "$dir/node$n"
      properties "$n" >"$dir/node$n/server.properties"
      format "$n" &
      jobs+=($!)
    done
    for n in "${jobs[@]}"; do wait "$n" || die "a node could not be formatted: $(tail -n 5 "$dir"/node*/log)"; done
    # shellcheck disable=SC2086 # numbers
    ! bring_up $all || break
    [ "$fresh" = yes ] && [ "$attempt" -lt 3 ] || die "Kafka did not start; the end of its log is above"
    say "Kafka did not start, perhaps because a port was taken meanwhile: trying others"
  done
  if [ "$sasl" = yes ] && [ "$fresh" = yes ]; then acls; fi
  if [ -n "$owner" ]; then
    nohup "${BASH_SOURCE[0]}" watch "$owner" --dir "$dir" >/dev/null 2>&1 </dev/null &
    disown $!
  fi
  printf 'dir=%s\nbootstrap=%s\n' "$dir" "$(list 1)"
  [ "$sasl" = no ] || printf 'sasl_ssl=%s\nssl=%s\n' "$(list 2)" "$(list 3)"
  for n in $all; do printf 'pid%s=%s\n' "$n" "$(cat "$dir/node$n/pid")"; done
}

# Waits for the owner's end, then removes everything.
watch() {
  local pid=$1 born
  born=$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null) || born=''
  while [ -n "$born" ] && [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" = "$born" ]; do sleep 1; done
  load
  # shellcheck disable=SC2046 # numbers
  end_nodes KILL $(seq 1 "$nodes")
  rm -rf "$dir"
}

status() {
  local n pid state
  for ((n = 1; n <= nodes; n++)); do
    state=dead
    if pid=$(pid_of "$n"); then
      state="running pid $pid"
      [[ $(ps -o stat= -p "$pid") != T* ]] || state="paused pid $pid"
    fi
    echo "node $n 127.0.0.1:$(port_of "$n") $state"
  done
}

tool() {
  local name=$1 class where=(--bootstrap-server "$(list 1)" --command-config "$dir/client.properties")
  shift
  case $name in
    topics) class=org.apache.kafka.tools.TopicCommand ;;
    configs) class=kafka.admin.ConfigCommand ;;
    acls) class=org.apache.kafka.tools.AclCommand ;;
    groups) class=org.apache.kafka.tools.GroupsCommand ;;
    consumer-groups) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
    streams-groups) class=org.apache.kafka.tools.streams.StreamsGroupCommand ;;
    console-consumer) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
    console-producer) class=org.apache.kafka.tools.ConsoleProducer ;;
    producer-perf) class=org.apache.kafka.tools.ProducerPerformance ;;
    transactions) class=org.apache.kafka.tools.TransactionsCommand ;;
    leader-election) class=org.apache.kafka.tools.LeaderElectionCommand ;;
    reassign-partitions) class=org.apache.kafka.tools.reassign.ReassignPartitionsCommand ;;
    *.*) class=$name where=() ;;
    *) die "no tool is called '$name'; dev/kafka.sh lists them, and a class name does it too" ;;
  esac
  fetch
  short_jvm "$class" "${where[@]+"${where[@]}"}" "$@"
}

node() { [[ ${1:-} =~ ^[1-9]$ ]] && [ "$1" -le "$nodes" ] || die "which node? there are $nodes in $dir"; }

command=${1:-}
[ -n "$command" ] || { sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
shift
dir=$VIGIE_CACHE/kafka-cluster
rest=()
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=${2:?--dir wants a folder} && shift 2 ;;
    --) shift && rest+=("$@") && break ;;
    *)
      if [ "$command" = start ]; then
        case $1 in
          --nodes) nodes=${2:?} && shift 2 ;;
          --heap) heap=${2:?} && shift 2 ;;
          --owner) owner=${2:?} && shift 2 ;;
          --set) settings+=("${2:?}") && shift 2 ;;
          --sasl) sasl=yes && shift ;;
          --quick) quick=yes && shift ;;
          *) die "dev/kafka.sh start does not know $1" ;;
        esac
      else
        rest+=("$1") && shift
      fi
      ;;
  esac
done
case $command in
  fetch) fetch ;;
  start) start ;;
  stop | kill | pause | unpause | resume | status | tool | watch)
    load
    set -- "${rest[@]+"${rest[@]}"}"
    case $command in
      # shellcheck disable=SC2046 # numbers
      stop) end_nodes TERM $(seq 1 "$nodes") ;;
      kill) node "${1:-}" && end_nodes KILL "$1" ;;
      pause) node "${1:-}" && kill -s STOP "$(pid_of "$1")" ;;
      unpause) node "${1:-}" && kill -s CONT "$(pid_of "$1")" ;;
      resume)
        node "${1:-}"
        ! pid_of "$1" >/dev/null || die "node $1 runs already"
        bring_up "$1" || die "node $1 did not start; the end of its log is above"
        ;;
      status) status ;;
      tool) tool "$@" ;;
      watch) watch "$1" ;;
    esac
    ;;
  *) die "dev/kafka.sh knows start, stop, kill, pause, unpause, resume, status, tool and fetch, not '$command'" ;;
esac
