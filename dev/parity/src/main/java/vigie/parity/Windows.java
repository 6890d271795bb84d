package vigie.parity;

import static vigie.parity.Topologies.TEXT;
import static vigie.parity.Topologies.counts;
import static vigie.parity.Topologies.countsOut;
import static vigie.parity.Topologies.define;
import static vigie.parity.Topologies.text;
import static vigie.parity.Topologies.windowsOut;

import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.CogroupedKStream;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Printed;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.UnlimitedWindows;
import org.apache.kafka.streams.kstream.ValueTransformerWithKey;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.ProcessorContext;
import org.apache.kafka.streams.state.WindowStore;

/** Session, sliding and unlimited windows, emission on close, suppression, co-grouping, printing, value transformers. */
final class Windows {
    private Windows() {}

    static final TimeWindows TUMBLING = Aggregations.TUMBLING;
    static final TimeWindows HOPPING = Aggregations.HOPPING;
    static final SessionWindows SESSIONS = SessionWindows.ofInactivityGapAndGrace(ms(40), ms(30));

    static Duration ms(long millis) {
        return Duration.ofMillis(millis);
    }

    static SlidingWindows sliding(long difference, long grace) {
        return SlidingWindows.ofTimeDifferenceAndGrace(ms(difference), ms(grace));
    }

    static KGroupedStream<String, String> grouped(StreamsBuilder b) {
        return Aggregations.grouped(b);
    }

    static CogroupedKStream<String, String> both(StreamsBuilder b) {
        KGroupedStream<String, String> left = b.<String, String>stream("left").groupByKey(Grouped.with(TEXT, TEXT));
        KGroupedStream<String, String> right = b.<String, String>stream("right").groupByKey(Grouped.with(TEXT, TEXT));
        return left.<String>cogroup((k, v, a) -> a + v).cogroup(right, (k, v, a) -> a + "+" + v);
    }

    static KTable<Windowed<String>, String> joined(StreamsBuilder b, EmitStrategy emit) {
        return grouped(b).windowedBy(SESSIONS).emitStrategy(emit)
            .aggregate(() -> "<", (k, v, a) -> a + v, (k, x, y) -> x + "|" + y, text("store"));
    }

    /** Kept long enough to be found when windows close: by default the store forgets windows that time jumps over. */
    static Materialized<String, Long, WindowStore<Bytes, byte[]>> keptCounts() {
        return Topologies.<WindowStore<Bytes, byte[]>>counts("counts").withRetention(Duration.ofDays(1));
    }

    static Materialized<String, String, WindowStore<Bytes, byte[]>> keptText() {
        return Topologies.<WindowStore<Bytes, byte[]>>text("store").withRetention(Duration.ofDays(1));
    }

    static KTable<String, String> table(StreamsBuilder b) {
        return b.table("in", text("table"));
    }

    static final class Around implements ValueTransformerWithKey<String, String, String> {
        @Override
        public void init(ProcessorContext context) {}

        @Override
        public String transform(String key, String value) {
            return value == null ? null : "<" + value + ">";
        }

        @Override
        public void close() {}
    }

    static KeyValue<String, String> parity(Long count) {
        String text = count % 2 == 0 ? "even" : "odd";
        return KeyValue.pair(text, text);
    }

    static void topologies() {
        windows();
        onClose();
        suppressed();
        cogrouped();
        // Without a cache Kafka Streams sends the initial value as the row before the first one.
        Map<String, String> cached = Map.of("statestore.cache.max.bytes", "10000000");
        define("count_then_group", cached, b -> countsOut(grouped(b).count(counts("counts"))
            .groupBy((k, n) -> parity(n), Grouped.with(TEXT, TEXT)).count(counts("sizes"))));
        define("tumbling_count_then_group", cached, b -> countsOut(grouped(b).windowedBy(TUMBLING).count(counts("counts"))
            .groupBy((k, n) -> parity(n), Grouped.with(TEXT, TEXT)).count(counts("sizes"))));
        define("print", b -> {
            var words = b.<String, String>stream("in");
            words.mapValues(v -> "<" + v + ">").print(Printed.<String, String>toFile("/dev/null").withLabel("words"));
            words.to("out");
        });
        define("transform_values", b -> table(b).transformValues(Around::new).toStream().to("out"));
        define("transform_values_into_store",
            b -> table(b).transformValues(Around::new, text("store")).toStream().to("out"));
        define("transform_values_then_group", b -> countsOut(b.<String, String>table("in").transformValues(Around::new)
            .groupBy((k, v) -> KeyValue.pair(v, v), Grouped.with(TEXT, TEXT)).count(counts("counts"))));
    }

    private static void windows() {
        define("session_count", b -> windowsOut(grouped(b).windowedBy(SESSIONS).count(counts("counts"))));
        define("session_count_without_grace", b -> windowsOut(grouped(b)
            .windowedBy(SessionWindows.ofInactivityGapWithNoGrace(ms(40))).count()));
        define("session_reduce", b -> windowsOut(grouped(b).windowedBy(SESSIONS).reduce((a, v) -> a + v, text("store"))));
        define("session_aggregate", b -> windowsOut(joined(b, EmitStrategy.onWindowUpdate())));
        define("session_aggregate_that_deletes", b -> windowsOut(grouped(b).windowedBy(SESSIONS)
            .aggregate(() -> "<", (k, v, a) -> v.equals("3") ? null : a + v, (k, x, y) -> x + y, text("store"))));
        define("sliding_count", b -> windowsOut(grouped(b).windowedBy(sliding(100, 30)).count(counts("counts"))));
        define("sliding_count_with_nulls", b -> windowsOut(grouped(b).windowedBy(sliding(50, 0)).count(counts("counts"))));
        define("sliding_with_long_grace", b -> windowsOut(grouped(b).windowedBy(sliding(40, 400)).count(counts("counts"))));
        define("sliding_without_grace", b -> windowsOut(grouped(b).windowedBy(sliding(100, 0)).count(counts("counts"))));
        define("sliding_early", b -> windowsOut(grouped(b).windowedBy(sliding(1200, 100)).count(counts("counts"))));
        define("sliding_reduce", b -> windowsOut(grouped(b).windowedBy(sliding(100, 30))
            .reduce((a, v) -> a + v, text("store"))));
        define("sliding_aggregate", b -> windowsOut(grouped(b).windowedBy(sliding(100, 30))
            .aggregate(() -> "<", (k, v, a) -> a + v, text("store"))));
        define("unlimited_count", b -> windowsOut(grouped(b)
            .windowedBy(UnlimitedWindows.of().startOn(Instant.ofEpochMilli(1100))).count(counts("counts"))));
        define("unlimited_reduce", b -> windowsOut(grouped(b).windowedBy(UnlimitedWindows.of()).reduce((a, v) -> a + v)));
    }

    private static void onClose() {
        EmitStrategy close = EmitStrategy.onWindowClose();
        define("tumbling_on_close",
            b -> windowsOut(grouped(b).windowedBy(TUMBLING).emitStrategy(close).count(keptCounts())));
        define("hopping_on_close", b -> windowsOut(grouped(b).windowedBy(HOPPING).emitStrategy(close)
            .reduce((a, v) -> a + v, keptText())));
        define("sliding_on_close",
            b -> windowsOut(grouped(b).windowedBy(sliding(100, 30)).emitStrategy(close).count(keptCounts())));
        define("session_on_close",
            b -> windowsOut(grouped(b).windowedBy(SESSIONS).emitStrategy(close).count(counts("counts"))));
        define("session_aggregate_on_close", b -> windowsOut(joined(b, close)));
    }

    private static void suppressed() {
        define("suppress_tumbling", b -> windowsOut(grouped(b).windowedBy(TUMBLING).count(counts("counts"))
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))));
        define("suppress_hopping", b -> windowsOut(grouped(b).windowedBy(HOPPING).reduce((a, v) -> a + v)
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()).withName("last"))));
        define("suppress_sliding", b -> windowsOut(grouped(b).windowedBy(sliding(100, 30)).count()
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))));
        define("suppress_sessions", b -> windowsOut(grouped(b).windowedBy(SESSIONS).count()
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))));
        define("suppress_filtered", b -> windowsOut(grouped(b).windowedBy(SESSIONS).count().filter((w, n) -> n % 2 == 0)
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))));
        define("suppress_for_a_time", b -> table(b)
            .suppress(Suppressed.untilTimeLimit(ms(30), BufferConfig.unbounded())).toStream().to("out"));
        define("suppress_many_keys", b -> table(b)
            .suppress(Suppressed.<String>untilTimeLimit(ms(60), BufferConfig.maxRecords(3)).withName("held"))
            .toStream().to("out"));
        define("suppress_many_bytes", b -> table(b)
            .suppress(Suppressed.untilTimeLimit(ms(60), BufferConfig.maxBytes(120))).toStream().to("out"));
        define("suppress_then_group", b -> countsOut(table(b)
            .suppress(Suppressed.untilTimeLimit(ms(20), BufferConfig.unbounded()))
            .groupBy((k, v) -> KeyValue.pair(v, v), Grouped.with(TEXT, TEXT)).count(counts("counts"))));
    }

    private static void cogrouped() {
        define("cogroup", b -> both(b).aggregate(() -> "", text("store")).toStream().to("out"));
        define("cogroup_repartitioned", b -> {
            KGroupedStream<String, String> left = b.<String, String>stream("left").groupByKey(Grouped.with(TEXT, TEXT));
            KGroupedStream<String, String> right = b.<String, String>stream("right").filter((k, v) -> v != null)
                .groupBy((k, v) -> v, Grouped.with(TEXT, TEXT));
            left.<String>cogroup((k, v, a) -> a + v).cogroup(right, (k, v, a) -> a + "+" + v)
                .aggregate(() -> "", Materialized.with(TEXT, TEXT)).toStream().to("out");
        });
        define("cogroup_tumbling", b -> windowsOut(both(b).windowedBy(TUMBLING)
            .aggregate(() -> "", Named.as("both"), text("store"))));
        define("cogroup_sliding", b -> windowsOut(both(b).windowedBy(sliding(100, 30)).aggregate(() -> "", text("store"))));
        define("cogroup_sessions", b -> windowsOut(both(b).windowedBy(SESSIONS)
            .aggregate(() -> "", (k, x, y) -> x + "|" + y, text("store"))));
        define("cogroup_then_filter", b -> both(b).aggregate(() -> "", text("store"))
            .filter((k, v) -> v.length() > 2).toStream().to("out"));
    }
}
