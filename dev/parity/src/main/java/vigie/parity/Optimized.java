package vigie.parity;

import static vigie.parity.Topologies.TEXT;
import static vigie.parity.Topologies.counts;
import static vigie.parity.Topologies.text;

import java.time.Duration;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.ValueJoiner;
import org.apache.kafka.streams.kstream.ValueJoinerWithKey;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Topologies built with `topology.optimization`: all rules. */
final class Optimized {
    private Optimized() {}

    private static final Map<String, String> ALL = Map.of("topology.optimization", "all");
    private static final ValueJoiner<String, String, String> BOTH = (l, r) -> or(l) + "," + or(r);
    private static final ValueJoinerWithKey<String, String, String, String> KEYED = (k, l, r) -> or(k) + "," + or(l) + "," + or(r);

    private static String or(String text) {
        return text == null ? "-" : text;
    }

    private static void define(String name, Consumer<StreamsBuilder> build) {
        Topologies.define(name, ALL, build);
    }

    /** Keys are the values, with a mark. */
    private static KStream<String, String> rekeyed(StreamsBuilder b, String topic) {
        return b.<String, String>stream(topic).filter((k, v) -> v != null).selectKey((k, v) -> "k" + v);
    }

    /** The same, but some records have no key. */
    private static KStream<String, String> halfKeyed(StreamsBuilder b, String topic) {
        return b.<String, String>stream(topic).filter((k, v) -> v != null).selectKey((k, v) -> v.equals("3") ? null : k);
    }

    private static void count(KStream<String, String> stream, String store, String topic) {
        stream.groupByKey(Grouped.with(TEXT, TEXT)).count(counts(store)).toStream()
            .to(topic, Produced.with(TEXT, Topologies.written(Object::toString)));
    }

    private static void concat(KStream<String, String> stream, String store, String topic) {
        stream.groupByKey(Grouped.with(TEXT, TEXT)).reduce((a, v) -> a + v, text(store)).toStream().to(topic);
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

    static void topologies() {
        tables();
        repartitions();
        joins();
        selfJoins();
    }

    private static void tables() {
        define("optimized_table", b -> b.<String, String>table("in", text("table")).toStream().to("out"));
        define("optimized_table_join", b -> b.<String, String>table("left").join(b.<String, String>table("right"), BOTH).toStream().to("out"));
        define("optimized_table_filter_then_group", b -> b.<String, String>table("in", text("table")).filter((k, v) -> !v.equals("2"))
            .groupBy((k, v) -> KeyValue.pair(v, k), Grouped.with(TEXT, TEXT)).count(counts("by-value"))
            .toStream().mapValues(String::valueOf).to("out"));
        define("optimized_versioned_table", b -> b.<String, String>table("in", versioned("table", 40)).toStream().to("out"));
        define("optimized_to_table", b -> {
            KStream<String, String> stream = rekeyed(b, "in");
            stream.toTable(text("table")).toStream().to("out");
            count(stream, "counts", "counted");
        });
    }

    private static void repartitions() {
        define("optimized_one_count", b -> count(rekeyed(b, "in"), "counts", "out"));
        define("optimized_two_counts", b -> {
            KStream<String, String> stream = rekeyed(b, "in");
            count(stream, "counts", "out");
            concat(stream, "texts", "texts");
        });
        define("optimized_unnamed", b -> {
            KStream<String, String> stream = rekeyed(b, "in");
            stream.groupByKey(Grouped.with(TEXT, TEXT)).reduce((a, v) -> a + v).toStream().to("out");
            stream.groupByKey(Grouped.with(TEXT, TEXT)).reduce((a, v) -> v + a).toStream().to("texts");
        });
        define("optimized_named", b -> {
            KStream<String, String> stream = rekeyed(b, "in");
            stream.groupByKey(Grouped.with("first", TEXT, TEXT)).reduce((a, v) -> a + v, text("one")).toStream().to("out");
            stream.groupByKey(Grouped.with("second", TEXT, TEXT)).reduce((a, v) -> v + a, text("two")).toStream().to("texts");
        });
        define("optimized_filters_between", b -> {
            KStream<String, String> stream = rekeyed(b, "in");
            KStream<String, String> some = stream.filter((k, v) -> !v.equals("2"));
            some.to("raw");
            count(some.peek((k, v) -> { }), "counts", "out");
            concat(stream.filterNot((k, v) -> v.equals("1")), "texts", "texts");
            stream.to("all");
        });
        define("optimized_values_between", b -> {
            KStream<String, String> stream = rekeyed(b, "in");
            concat(stream.mapValues(v -> v + "+"), "plus", "out");
            concat(stream, "texts", "texts");
            count(stream, "counts", "counted");
        });
        define("optimized_two_changers", b -> {
            KStream<String, String> stream = rekeyed(b, "in");
            count(stream, "counts", "counted");
            KStream<String, String> again = stream.selectKey((k, v) -> k + "!");
            count(again, "again", "out");
            concat(again, "texts", "texts");
            concat(stream, "more", "more");
        });
        define("optimized_group_of_groups", b -> {
            KStream<String, String> lengths = rekeyed(b, "in").groupByKey(Grouped.with(TEXT, TEXT)).reduce((a, v) -> a + v, text("texts"))
                .toStream().selectKey((k, v) -> "n" + v.length());
            count(lengths, "lengths", "out");
            concat(lengths, "by-length", "texts");
        });
        define("optimized_merge", b -> {
            KStream<String, String> stream = rekeyed(b, "left").merge(rekeyed(b, "right"));
            count(stream, "counts", "out");
            concat(stream.filter((k, v) -> !v.equals("2")), "texts", "texts");
        });
        define("optimized_merge_of_one", b -> {
            KStream<String, String> stream = rekeyed(b, "left").merge(b.stream("right"));
            count(stream, "counts", "out");
        });
        define("optimized_branches", b -> {
            Map<String, KStream<String, String>> branches = rekeyed(b, "in").split(org.apache.kafka.streams.kstream.Named.as("size-"))
                .branch((k, v) -> v.compareTo("3") < 0, org.apache.kafka.streams.kstream.Branched.as("small"))
                .defaultBranch(org.apache.kafka.streams.kstream.Branched.as("large"));
            count(branches.get("size-small"), "small", "out");
            // Two repartitions behind one child of the operator that changes keys fail there.
            branches.get("size-large").to("texts");
        });
        define("optimized_windows", b -> {
            KStream<String, String> stream = rekeyed(b, "in");
            Topologies.windowsOut(stream.groupByKey(Grouped.with(TEXT, TEXT)).windowedBy(Aggregations.TUMBLING).count(counts("tumbling")));
            stream.groupByKey(Grouped.with(TEXT, TEXT)).windowedBy(SessionWindows.ofInactivityGapAndGrace(Duration.ofMillis(20), Duration.ofMillis(10)))
                .count(counts("sessions")).toStream()
                .to("sessions", Produced.with(Topologies.written(Main::windowed), Topologies.written(Object::toString)));
        });
        define("optimized_cogroup", b -> {
            KStream<String, String> stream = rekeyed(b, "left");
            stream.groupByKey(Grouped.with(TEXT, TEXT)).<String>cogroup((k, v, a) -> a + v)
                .cogroup(b.<String, String>stream("right").groupByKey(Grouped.with(TEXT, TEXT)), (k, v, a) -> a + "+" + v)
                .aggregate(() -> "", text("both")).toStream().to("out");
            count(stream, "counts", "counted");
        });
        define("optimized_with_nulls", b -> {
            KStream<String, String> stream = halfKeyed(b, "in");
            stream.filter((k, v) -> !v.equals("1")).to("raw");
            count(stream, "counts", "out");
            concat(stream.filter((k, v) -> !v.equals("2")), "texts", "texts");
        });
        define("optimized_repartition", b -> {
            KStream<String, String> stream = rekeyed(b, "in");
            concat(stream.repartition(org.apache.kafka.streams.kstream.Repartitioned.as("own")), "texts", "texts");
            count(stream, "counts", "out");
        });
    }

    private static void joins() {
        define("optimized_table_lookups", b -> {
            KTable<String, String> table = b.table("right", text("table"));
            KStream<String, String> stream = halfKeyed(b, "left");
            stream.leftJoin(table, KEYED, Joined.with(TEXT, TEXT, TEXT)).to("out");
            stream.join(table, KEYED, Joined.with(TEXT, TEXT, TEXT, "second")).to("texts");
            count(stream, "counts", "counted");
        });
        define("optimized_stream_join", b -> {
            KStream<String, String> left = rekeyed(b, "left");
            KStream<String, String> right = rekeyed(b, "right");
            left.outerJoin(right, KEYED, within(10, 5), joined()).to("out");
            count(left, "lefts", "counted");
            count(right.filter((k, v) -> !v.equals("9")), "rights", "texts");
        });
        define("optimized_global_join", b -> {
            var table = b.<String, String>globalTable("right");
            KStream<String, String> stream = rekeyed(b, "left").join(table, (k, v) -> v, KEYED);
            count(stream, "counts", "out");
        });
    }

    private static void selfJoins() {
        define("optimized_self_join", b -> {
            KStream<String, String> stream = b.stream("left");
            stream.join(stream, KEYED, within(10, 5), joined()).to("out");
        });
        define("optimized_self_join_asymmetric", b -> {
            KStream<String, String> stream = b.stream("left");
            stream.join(stream, KEYED, within(10, 5).before(Duration.ofMillis(3)).after(Duration.ofMillis(20)), joined().withName("self").withStoreName("kept")).to("out");
        });
        define("optimized_self_join_afterwards", b -> {
            KStream<String, String> stream = b.stream("left");
            stream.join(stream, KEYED, within(10, 5).before(Duration.ofMillis(-2)), joined()).to("out");
        });
        define("optimized_self_join_expiring", b -> {
            KStream<String, String> stream = b.stream("left");
            stream.join(stream, KEYED, within(30_000, 10_000), joined()).to("out");
        });
        define("optimized_self_left_join", b -> {
            KStream<String, String> stream = b.stream("left");
            stream.leftJoin(stream, KEYED, within(10, 5), joined()).to("out");
        });
        define("optimized_self_join_repartitioned", b -> {
            KStream<String, String> stream = rekeyed(b, "left");
            stream.join(stream, KEYED, within(10, 5), joined()).to("out");
        });
        define("optimized_self_join_named_repartitions", b -> {
            KStream<String, String> stream = rekeyed(b, "left");
            stream.join(stream, KEYED, within(10, 5), joined().withName("self")).to("out");
            count(stream, "counts", "counted");
        });
        define("optimized_two_self_joins", b -> {
            KStream<String, String> stream = b.stream("left");
            stream.join(stream, KEYED, within(10, 5), joined())
                .join(stream, KEYED, within(5, 5), joined()).to("out");
            stream.join(stream, BOTH, within(3, 5), joined()).to("texts");
        });
    }
}
