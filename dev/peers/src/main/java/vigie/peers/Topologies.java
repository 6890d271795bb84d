package vigie.peers;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;

/** The topologies of crates/bench/src/workloads, in Kafka Streams' own words. */
final class Topologies {
  /** What the count needs of a page view. */
  public static final class View {
    public String name;
    public long duration;
  }

  private static final ObjectReader JSON =
      JsonMapper.builder().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES).build().readerFor(View.class);

  private static final Serde<View> VIEW =
      Serdes.serdeFrom(
          (topic, view) -> {
            throw new UnsupportedOperationException("page views are only read");
          },
          (topic, bytes) -> {
            try {
              return JSON.readValue(bytes);
            } catch (IOException problem) {
              throw new UncheckedIOException(problem);
            }
          });

  private Topologies() {}

  /** Views longer than 100 ms, by page and window of five seconds; the store's cache is Kafka Streams' default. */
  static void pageCount(StreamsBuilder builder, String in, String out, Runnable atFirst, AtomicLong seen) {
    builder.stream(in, Consumed.with(Serdes.ByteArray(), VIEW))
        .peek((key, view) -> atFirst.run())
        .filter((key, view) -> view.duration > 100)
        // Only what the count needs goes through the repartition topic.
        .map((key, view) -> KeyValue.pair(view.name, 1L))
        .repartition(org.apache.kafka.streams.kstream.Repartitioned.with(Serdes.String(), Serdes.Long()).withName("by-page"))
        .peek((page, one) -> seen.incrementAndGet())
        .groupByKey(Grouped.with(Serdes.String(), Serdes.Long()))
        .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(5), Duration.ofDays(1)))
        .count(
            Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("page-count")
                .withKeySerde(Serdes.String())
                .withValueSerde(Serdes.Long()))
        .toStream((windowed, count) -> windowed.key() + "@" + windowed.window().start())
        .to(out, Produced.with(Serdes.String(), Serdes.Long()));
  }

  /** The sum of durations by user; every update is a result, so the store has no cache. */
  static void userTotal(StreamsBuilder builder, String in, String out, Runnable atFirst, AtomicLong seen) {
    builder.stream(in, Consumed.with(Serdes.String(), VIEW))
        .peek((user, view) -> atFirst.run())
        .mapValues(view -> view.duration)
        .groupByKey(Grouped.with(Serdes.String(), Serdes.Long()))
        .reduce(
            Long::sum,
            Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("user-total")
                .withKeySerde(Serdes.String())
                .withValueSerde(Serdes.Long())
                .withCachingDisabled())
        .toStream()
        .peek((user, total) -> seen.incrementAndGet())
        .to(out, Produced.with(Serdes.String(), Serdes.Long()));
  }
}
