package vigie.parity;

import static vigie.parity.Topologies.TEXT;
import static vigie.parity.Topologies.define;
import static vigie.parity.Topologies.text;

import java.time.Duration;
import java.util.Map;
import java.util.function.Function;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TableJoined;
import org.apache.kafka.streams.kstream.ValueJoiner;
import org.apache.kafka.streams.kstream.ValueJoinerWithKey;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Joins of streams and tables. */
final class Joins {
    private Joins() {}

    private static final ValueJoiner<String, String, String> BOTH = (l, r) -> or(l) + "," + or(r);
    private static final ValueJoinerWithKey<String, String, String, String> KEYED = (k, l, r) -> or(k) + "," + or(l) + "," + or(r);

    private static String or(String text) {
        return text == null ? "-" : text;
    }

    private static KStream<String, String> stream(StreamsBuilder builder, String topic) {
        return builder.stream(topic);
    }

    private static KTable<String, String> table(StreamsBuilder builder, String topic) {
        return builder.table(topic);
    }

    private static JoinWindows within(long difference, long grace) {
        return JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(difference), Duration.ofMillis(grace));
    }

    private static StreamJoined<String, String, String> joined() {
        return StreamJoined.with(TEXT, TEXT, TEXT);
    }

    private static Materialized<String, String, KeyValueStore<Bytes, byte[]>> versioned(String name, long history) {
        return Materialized.<String, String>as(Stores.persistentVersionedKeyValueStore(name, Duration.ofMillis(history)))
            .withKeySerde(TEXT).withValueSerde(TEXT);
    }

    /** The foreign key is what follows a row's first character; no key if nothing does. */
    private static String foreign(String value) {
        return value.length() < 2 ? null : value.substring(1);
    }

    private static final Function<String, String> FOREIGN = Joins::foreign;
    private static final Map<String, String> EACH_SECOND = Map.of("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", "1000");

    static void topologies() {
        define("stream_table_join", b -> {
            KTable<String, String> table = b.table("right", text("table"));
            KStream<String, String> stream = b.stream("left");
            stream.join(table, (k, l, r) -> k + l + r).to("out");
        });
        define("stream_table_left_join", b -> {
            KTable<String, String> table = b.table("right", text("table"));
            KStream<String, String> stream = b.stream("left");
            stream.leftJoin(table, (k, l, r) -> k + l + (r == null ? "-" : r)).to("out");
        });
        streams();
        tables();
        foreignKeys();
        globals();
        versions();
    }

    private static void streams() {
        define("stream_join", b -> stream(b, "left").join(stream(b, "right"), KEYED, within(10, 5), joined()).to("out"));
        define("stream_join_no_grace", b -> stream(b, "left").join(stream(b, "right"), KEYED, within(10, 0), joined()).to("out"));
        define("stream_join_expiring", b -> stream(b, "left").join(stream(b, "right"), KEYED, within(30_000, 10_000), joined()).to("out"));
        define("stream_join_asymmetric", b -> stream(b, "left").join(stream(b, "right"), KEYED,
            within(10, 5).before(Duration.ofMillis(3)).after(Duration.ofMillis(20)), joined()).to("out"));
        define("stream_join_afterwards", b -> stream(b, "left").join(stream(b, "right"), KEYED,
            within(10, 5).before(Duration.ofMillis(-2)), joined()).to("out"));
        define("stream_left_join", b -> stream(b, "left").leftJoin(stream(b, "right"), KEYED, within(10, 5), joined()).to("out"));
        define("stream_left_join_throttled", EACH_SECOND, b -> stream(b, "left").leftJoin(stream(b, "right"), KEYED, within(10, 5), joined()).to("out"));
        define("stream_left_join_asymmetric", b -> stream(b, "left").leftJoin(stream(b, "right"), KEYED,
            within(10, 5).before(Duration.ofMillis(20)).after(Duration.ZERO), joined()).to("out"));
        define("stream_outer_join", b -> stream(b, "left").outerJoin(stream(b, "right"), KEYED, within(10, 5), joined()).to("out"));
        define("stream_outer_join_throttled", EACH_SECOND, b -> stream(b, "left").outerJoin(stream(b, "right"), KEYED, within(10, 0),
            joined().withName("join").withStoreName("sides")).to("out"));
        define("stream_outer_join_asymmetric", b -> stream(b, "left").outerJoin(stream(b, "right"), KEYED,
            within(10, 5).before(Duration.ofMillis(2)).after(Duration.ofMillis(25)), joined()).to("out"));
        define("stream_left_join_repartitioned", b -> stream(b, "left").filter((k, v) -> v != null).map((k, v) -> org.apache.kafka.streams.KeyValue.pair(k, v))
            .leftJoin(stream(b, "right").filter((k, v) -> v != null).map((k, v) -> org.apache.kafka.streams.KeyValue.pair(k, v)), KEYED, within(10, 5), joined()).to("out"));
        define("stream_self_join", b -> {
            KStream<String, String> stream = stream(b, "left");
            stream.join(stream, KEYED, within(10, 5), joined()).to("out");
        });
        define("stream_self_join_repartitioned", b -> {
            KStream<String, String> stream = stream(b, "left").filter((k, v) -> v != null).selectKey((k, v) -> or(k) + "!");
            stream.join(stream, KEYED, within(10, 5), joined()).to("out");
        });
    }

    private static void tables() {
        define("table_join", b -> table(b, "left").join(table(b, "right"), BOTH).toStream().to("out"));
        define("table_left_join", b -> table(b, "left").leftJoin(table(b, "right"), BOTH).toStream().to("out"));
        define("table_outer_join", b -> table(b, "left").outerJoin(table(b, "right"), BOTH).toStream().to("out"));
        define("table_join_into_store", b -> table(b, "left").join(table(b, "right"), BOTH, Named.as("join"), text("joined")).toStream().to("out"));
        define("table_outer_join_into_store", b -> table(b, "left").outerJoin(table(b, "right"), BOTH, text("joined")).toStream().to("out"));
        define("table_join_then_filter", b -> table(b, "left").leftJoin(table(b, "right"), BOTH)
            .filter((k, v) -> v.endsWith("-") || v.endsWith("7") || v.endsWith("9")).toStream().to("out"));
        define("table_filter_then_join", b -> table(b, "left").filter((k, v) -> !v.equals("2"))
            .outerJoin(table(b, "right").mapValues(v -> v + "+"), BOTH).toStream().to("out"));
        define("table_join_of_joins", b -> table(b, "left").outerJoin(table(b, "right"), BOTH)
            .leftJoin(table(b, "third"), BOTH).toStream().to("out"));
        define("table_join_then_group", b -> table(b, "left").outerJoin(table(b, "right"), BOTH)
            .groupBy((k, v) -> org.apache.kafka.streams.KeyValue.pair(v.substring(0, 1), v))
            .aggregate(() -> "", (k, v, a) -> a + "+" + v, (k, v, a) -> a + "~" + v, text("changes")).toStream().to("out"));
        define("stream_joins_joined_tables", b -> stream(b, "third")
            .leftJoin(table(b, "left").outerJoin(table(b, "right"), BOTH), KEYED, Joined.with(TEXT, TEXT, TEXT)).to("out"));
    }

    private static void foreignKeys() {
        define("foreign_key_join", b -> table(b, "left").join(table(b, "right"), FOREIGN, BOTH).toStream().to("out"));
        define("foreign_key_left_join", b -> table(b, "left").leftJoin(table(b, "right"), FOREIGN, BOTH).toStream().to("out"));
        define("foreign_key_join_into_store", b -> table(b, "left").join(table(b, "right"), FOREIGN, BOTH, TableJoined.as("join"), text("joined"))
            .toStream().to("out"));
        define("foreign_key_left_join_into_store", b -> table(b, "left").leftJoin(table(b, "right"), FOREIGN, BOTH, text("joined"))
            .toStream().to("out"));
        define("foreign_key_of_key_and_value", b -> table(b, "left").join(table(b, "right"),
            (k, v) -> foreign(v) == null ? null : k.equals("a") ? "x" : foreign(v), BOTH).toStream().to("out"));
        define("foreign_key_join_then_filter", b -> table(b, "left").leftJoin(table(b, "right"), FOREIGN, BOTH)
            .filter((k, v) -> !v.endsWith("-")).toStream().to("out"));
        define("foreign_key_join_of_filtered", b -> table(b, "left").filter((k, v) -> !v.startsWith("2"))
            .join(table(b, "right").mapValues(v -> v + "+"), FOREIGN, BOTH).toStream().to("out"));
    }

    private static void globals() {
        define("global_join", b -> {
            GlobalKTable<String, String> table = b.globalTable("right", text("table"));
            stream(b, "left").join(table, (k, v) -> v == null || v.equals("3") ? null : v, KEYED).to("out");
        });
        define("global_left_join", b -> {
            GlobalKTable<String, String> table = b.globalTable("right");
            stream(b, "left").leftJoin(table, (k, v) -> v == null || v.equals("3") ? null : v, KEYED).to("out");
        });
    }

    private static void versions() {
        define("stream_versioned_table_join", b -> {
            KTable<String, String> table = b.table("right", versioned("table", 40));
            stream(b, "left").join(table, KEYED, Joined.with(TEXT, TEXT, TEXT)).to("out");
        });
        define("stream_versioned_table_left_join", b -> {
            KTable<String, String> table = b.table("right", versioned("table", 5_000));
            stream(b, "left").leftJoin(table.filter((k, v) -> !v.equals("8")), KEYED, Joined.with(TEXT, TEXT, TEXT)).to("out");
        });
        define("stream_versioned_table_join_with_grace", b -> {
            KTable<String, String> table = b.table("right", versioned("table", 100));
            stream(b, "left").join(table, KEYED, Joined.with(TEXT, TEXT, TEXT, "join", Duration.ofMillis(25))).to("out");
        });
        define("stream_versioned_table_left_join_with_grace", b -> {
            KTable<String, String> table = b.table("right", versioned("table", 100));
            stream(b, "left").leftJoin(table, KEYED, Joined.with(TEXT, TEXT, TEXT, "join", Duration.ofMillis(10))).to("out");
        });
        define("versioned_table", b -> b.table("right", versioned("table", 40)).toStream().to("out"));
        define("versioned_table_long_history", b -> b.table("right", versioned("table", 5_000)).mapValues(v -> v + "+").toStream().to("out"));
        define("versioned_tables_join", b -> b.<String, String>table("left", versioned("l", 40))
            .join(b.table("right", versioned("r", 5_000)), BOTH).toStream().to("out"));
        define("versioned_tables_outer_join", b -> b.<String, String>table("left", versioned("l", 40))
            .outerJoin(table(b, "right"), BOTH).toStream().to("out"));
        define("versioned_join_into_versioned_store", b -> b.<String, String>table("left", versioned("l", 5_000))
            .leftJoin(b.table("right", versioned("r", 5_000)), BOTH, versioned("joined", 40)).toStream().to("out"));
        define("versioned_table_group", b -> b.<String, String>table("right", versioned("r", 40))
            .groupBy((k, v) -> org.apache.kafka.streams.KeyValue.pair(v, k)).count(Topologies.counts("counts"))
            .toStream().mapValues(String::valueOf).to("out"));
        define("versioned_foreign_key_join", b -> b.<String, String>table("left", versioned("l", 5_000))
            .join(b.table("right", versioned("r", 5_000)), FOREIGN, BOTH).toStream().to("out"));
    }
}
