package vigie.peers;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;

/**
 * Kafka Streams at the work that vigie-bench does, measured as vigie-bench measures itself: one line of JSON.
 *
 * <pre>
 * Peer page-count|user-total|restore|pipe --bootstrap B --topic IN --results OUT --application A --state DIR
 *      [--expect N] [--commit-ms MS]
 * Peer probe --bootstrap B --topic IN --results OUT [--rate N] [--seconds N]
 * </pre>
 *
 * {@code restore} wants a state folder without files, and the changelog of an earlier user-total of the same application. {@code pipe} is
 * user-total until it is killed. {@code probe} measures one of the two engines' pipes from outside; see {@link Probe}.
 */
public final class Peer {
  private final Map<String, String> options = new HashMap<>();
  private final String workload;

  private Peer(String[] words) {
    workload = words[0];
    for (int i = 1; i + 1 < words.length; i += 2) {
      options.put(words[i].substring(2), words[i + 1]);
    }
  }

  String option(String name) {
    String value = options.get(name);
    if (value == null) {
      throw new IllegalArgumentException("--" + name + " is missing");
    }
    return value;
  }

  long number(String name, long otherwise) {
    return options.containsKey(name) ? Long.parseLong(options.get(name)) : otherwise;
  }

  public static void main(String[] words) throws Exception {
    Peer peer = new Peer(words);
    if (peer.workload.equals("probe")) {
      Probe.run(peer);
    } else {
      peer.run();
    }
  }

  private Properties config() {
    Properties config = new Properties();
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, option("application"));
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, option("bootstrap"));
    config.put(StreamsConfig.STATE_DIR_CONFIG, option("state"));
    config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, number("commit-ms", 100));
    config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.LongSerde.class);
    config.put("auto.offset.reset", "earliest");
    config.put("linger.ms", "5");
    config.put("compression.type", "lz4");
    return config;
  }

  private void run() throws Exception {
    AtomicLong first = new AtomicLong();
    AtomicLong seen = new AtomicLong();
    Runnable atFirst = () -> first.compareAndSet(0, System.currentTimeMillis());
    StreamsBuilder builder = new StreamsBuilder();
    if (workload.equals("page-count")) {
      Topologies.pageCount(builder, option("topic"), option("results"), atFirst, seen);
    } else {
      Topologies.userTotal(builder, option("topic"), option("results"), atFirst, seen);
    }
    long begin = System.nanoTime();
    double cpuBefore = cpuSeconds();
    boolean failed = false;
    KafkaStreams streams = new KafkaStreams(builder.build(), config());
    streams.setUncaughtExceptionHandler(
        problem -> {
          problem.printStackTrace();
          Runtime.getRuntime().halt(1);
          return null;
        });
    streams.start();
    while (streams.state() != KafkaStreams.State.RUNNING) {
      Thread.sleep(1);
    }
    double running = seconds(begin);
    if (workload.equals("pipe")) {
      System.out.println("running");
      Thread.sleep(Long.MAX_VALUE);
    }
    long expect = number("expect", 0);
    if (workload.equals("restore")) {
      // All tasks run: their stores are complete.
      expect = 0;
    }
    while (seen.get() < expect) {
      Thread.sleep(2);
    }
    // Commits, and writes what is in the caches.
    failed = !streams.close(Duration.ofMinutes(5));
    double wall = seconds(begin);
    long records = Math.max(1, number("records", expect));
    double cpu = workload.equals("restore") ? cpuSeconds() - cpuBefore : cpuSeconds();
    double start = ManagementFactory.getRuntimeMXBean().getStartTime();
    System.out.printf(
        Locale.ROOT,
        "{\"workload\":\"%s\",\"engine\":\"kafka-streams\",\"records\":%d,\"wall_s\":%.3f,\"cpu_s\":%.2f,\"rec_per_s\":%.0f,"
            + "\"cpu_us_per_rec\":%.3f,\"peak_rss_kb\":%s,\"startup_s\":%.3f,\"first_record_s\":%.3f}%n",
        workload,
        records,
        wall,
        cpu,
        records / wall,
        1e6 * cpu / records,
        status("VmHWM:"),
        running,
        first.get() == 0 ? 0 : (first.get() - start) / 1e3);
    System.exit(failed ? 1 : 0);
  }

  static double seconds(long since) {
    return (System.nanoTime() - since) / 1e9;
  }

  /** Processor time of this process, from its start: the virtual machine's own is part of the price. */
  static double cpuSeconds() throws IOException {
    String stat = Files.readString(Path.of("/proc/self/stat"));
    String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
    return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) / 100.0;
  }

  static String status(String name) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith(name)) {
        return line.replaceAll("[^0-9]", "");
      }
    }
    return "0";
  }
}
