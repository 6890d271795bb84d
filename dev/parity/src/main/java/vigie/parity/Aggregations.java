package vigie.parity;

import static vigie.parity.Topologies.TEXT;
import static vigie.parity.Topologies.counts;
import static vigie.parity.Topologies.countsOut;
import static vigie.parity.Topologies.define;
import static vigie.parity.Topologies.text;
import static vigie.parity.Topologies.windowsOut;

import java.time.Duration;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.TimeWindows;

/** Aggregations of grouped streams, whole and by fixed windows. */
final class Aggregations {
    private Aggregations() {}

    static final TimeWindows TUMBLING = TimeWindows.ofSizeAndGrace(Duration.ofMillis(100), Duration.ofMillis(30));
    static final TimeWindows HOPPING = TUMBLING.advanceBy(Duration.ofMillis(40));

    static KGroupedStream<String, String> grouped(org.apache.kafka.streams.StreamsBuilder b) {
        return b.<String, String>stream("in").groupByKey(Grouped.with(TEXT, TEXT));
    }

    static void topologies() {
        define("count", b -> countsOut(grouped(b).count(counts("counts"))));
        define("reduce", b -> grouped(b).reduce((a, v) -> a + v, text("store")).toStream().to("out"));
        define("aggregate", b -> grouped(b).aggregate(() -> "", (k, v, a) -> a + v, text("store")).toStream().to("out"));
        define("aggregate_that_deletes", b -> grouped(b)
            .aggregate(() -> "", (k, v, a) -> v.equals("3") ? null : a + v, text("store")).toStream().to("out"));
        define("group_by", b -> countsOut(b.<String, String>stream("in").filter((k, v) -> v != null)
            .groupBy((k, v) -> v, Grouped.with(TEXT, TEXT)).count(counts("counts"))));
        define("tumbling_count", b -> windowsOut(grouped(b).windowedBy(TUMBLING).count(counts("counts"))));
        define("tumbling_reduce", b -> windowsOut(grouped(b).windowedBy(TUMBLING).reduce((a, v) -> a + v, text("store"))));
        define("tumbling_aggregate", b -> windowsOut(grouped(b).windowedBy(TUMBLING)
            .aggregate(() -> "", (k, v, a) -> a + v, text("store"))));
        define("tumbling_without_grace", b -> windowsOut(grouped(b)
            .windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMillis(100))).count(counts("counts"))));
        define("hopping_count", b -> windowsOut(grouped(b).windowedBy(HOPPING).count(counts("counts"))));
        define("hopping_reduce", b -> windowsOut(grouped(b).windowedBy(HOPPING).reduce((a, v) -> a + v, text("store"))));
        define("hopping_aggregate", b -> windowsOut(grouped(b).windowedBy(HOPPING)
            .aggregate(() -> "", (k, v, a) -> a + v, text("store"))));
    }
}
