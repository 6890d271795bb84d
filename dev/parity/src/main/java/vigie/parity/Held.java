package vigie.parity;

import static vigie.parity.Topologies.TEXT;
import static vigie.parity.Topologies.define;
import static vigie.parity.Topologies.text;
import static vigie.parity.Topologies.windowsOut;

import java.time.Duration;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.ValueJoiner;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Joins of suppressed and of windowed tables; aggregates in versioned stores. */
final class Held {
    private Held() {}

    private static final ValueJoiner<Object, Object, String> BOTH = (l, r) -> or(l) + "," + or(r);

    private static String or(Object side) {
        return side == null ? "-" : side.toString();
    }

    private static KTable<String, String> table(StreamsBuilder b, String topic) {
        return b.table(topic);
    }

    private static KTable<String, String> calm(StreamsBuilder b, String topic, long millis) {
        return b.<String, String>table(topic).suppress(Suppressed.untilTimeLimit(Duration.ofMillis(millis), BufferConfig.unbounded()));
    }

    private static KGroupedStream<String, String> grouped(StreamsBuilder b, String topic) {
        return b.<String, String>stream(topic).groupByKey(Grouped.with(TEXT, TEXT));
    }

    private static <V> Materialized<String, V, KeyValueStore<Bytes, byte[]>> versioned(
            String name, long history, org.apache.kafka.common.serialization.Serde<V> serde) {
        return Materialized.<String, V>as(Stores.persistentVersionedKeyValueStore(name, Duration.ofMillis(history)))
            .withKeySerde(TEXT).withValueSerde(serde);
    }

    private static <W> Suppressed<Windowed<?>> atEnd(String name) {
        return Suppressed.untilWindowCloses(BufferConfig.unbounded()).withName(name);
    }

    static void topologies() {
        suppressed();
        windowed();
        versions();
    }

    private static void suppressed() {
        define("suppressed_table_join", b -> calm(b, "left", 20).join(table(b, "right"), BOTH).toStream().to("out"));
        define("suppressed_table_left_join", b -> table(b, "left").leftJoin(calm(b, "right", 20), BOTH).toStream().to("out"));
        define("suppressed_tables_outer_join", b -> calm(b, "left", 10).outerJoin(calm(b, "right", 30), BOTH).toStream().to("out"));
        define("suppressed_mapped_table_join", b -> calm(b, "left", 20).mapValues(v -> v + "+")
            .join(table(b, "right").filter((k, v) -> !v.equals("7")), BOTH).toStream().to("out"));
        define("suppressed_join_suppressed", b -> calm(b, "left", 10).outerJoin(table(b, "right"), BOTH)
            .suppress(Suppressed.untilTimeLimit(Duration.ofMillis(10), BufferConfig.unbounded())).toStream().to("out"));
        define("stream_joins_suppressed_table", b -> b.<String, String>stream("left")
            .join(calm(b, "right", 20), (l, r) -> l + "," + r, org.apache.kafka.streams.kstream.Joined.with(TEXT, TEXT, TEXT)).to("out"));
    }

    private static void windowed() {
        define("windowed_tables_join", b -> windowsOut(grouped(b, "left").windowedBy(Aggregations.TUMBLING).count()
            .join(grouped(b, "right").windowedBy(Aggregations.TUMBLING).reduce((a, v) -> a + v), BOTH)));
        define("windowed_tables_outer_join", b -> windowsOut(grouped(b, "left").windowedBy(Aggregations.HOPPING).count()
            .outerJoin(grouped(b, "right").windowedBy(Aggregations.HOPPING).count(), BOTH)));
        define("windowed_tables_join_at_their_end", b -> windowsOut(grouped(b, "left").windowedBy(Aggregations.TUMBLING).reduce((a, v) -> a + v).suppress(atEnd("left-ends"))
            .outerJoin(grouped(b, "right").windowedBy(Aggregations.TUMBLING).reduce((a, v) -> a + v).suppress(atEnd("right-ends")), BOTH)));
        define("sliding_tables_left_join", b -> windowsOut(grouped(b, "left").windowedBy(Windows.sliding(50, 30)).count()
            .leftJoin(grouped(b, "right").windowedBy(Windows.sliding(50, 30)).count(), BOTH)));
        define("session_tables_outer_join", b -> windowsOut(grouped(b, "left").windowedBy(Windows.SESSIONS).reduce((a, v) -> a + v)
            .outerJoin(grouped(b, "right").windowedBy(Windows.SESSIONS).reduce((a, v) -> a + v), BOTH)));
    }

    private static void versions() {
        define("versioned_count", b -> grouped(b, "right").count(versioned("counts", 40, Serdes.Long()))
            .toStream().mapValues(String::valueOf).to("out"));
        define("versioned_reduce", b -> grouped(b, "right").reduce((a, v) -> a + v, versioned("texts", 5_000, TEXT)).toStream().to("out"));
        define("versioned_aggregate_that_deletes", b -> grouped(b, "right")
            .aggregate(() -> "", (k, v, a) -> v.equals("8") ? null : a + v, versioned("texts", 40, TEXT)).toStream().to("out"));
        define("versioned_reduce_then_join", b -> grouped(b, "left").reduce((a, v) -> a + v, versioned("l", 5_000, TEXT))
            .join(grouped(b, "right").reduce((a, v) -> a + v, versioned("r", 40, TEXT)), BOTH).toStream().to("out"));
        define("versioned_reduce_looked_up", b -> {
            KTable<String, String> table = grouped(b, "right").reduce((a, v) -> a + v, versioned("r", 5_000, TEXT));
            b.<String, String>stream("left").leftJoin(table, (l, r) -> l + "," + or(r),
                org.apache.kafka.streams.kstream.Joined.with(TEXT, TEXT, TEXT)).to("out");
        });
        define("versioned_reduce_then_filter", b -> grouped(b, "right").reduce((a, v) -> a + v, versioned("r", 40, TEXT))
            .filter((k, v) -> v.length() > 2).toStream().to("out"));
        define("versioned_group_of_table", b -> table(b, "right").groupBy((k, v) -> KeyValue.pair(v, k), Grouped.with(TEXT, TEXT))
            .aggregate(() -> "", (k, v, a) -> a + "+" + v, (k, v, a) -> a + "-" + v, versioned("changes", 40, TEXT)).toStream().to("out"));
        define("versioned_cogroup", b -> grouped(b, "left").<String>cogroup((k, v, a) -> a + v)
            .cogroup(grouped(b, "right"), (k, v, a) -> v.equals("9") ? null : a + "+" + v)
            .aggregate(() -> "", versioned("both", 40, TEXT)).toStream().to("out"));
    }
}
