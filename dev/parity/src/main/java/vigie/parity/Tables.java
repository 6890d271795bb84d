package vigie.parity;

import static vigie.parity.Topologies.TEXT;
import static vigie.parity.Topologies.counts;
import static vigie.parity.Topologies.countsOut;
import static vigie.parity.Topologies.define;
import static vigie.parity.Topologies.text;

import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KTable;

/** Tables: sources, filters, mappers, grouping. */
final class Tables {
    private Tables() {}

    private static boolean odd(String value) {
        return Integer.parseInt(value) % 2 == 1;
    }

    static void topologies() {
        define("table_source", b -> b.<String, String>table("in", text("table")).toStream().to("out"));
        define("to_table", b -> b.<String, String>stream("in").toTable(text("table")).toStream().to("out"));
        define("table_filter", b -> b.<String, String>table("in", text("table"))
            .filter((k, v) -> odd(v)).toStream().to("out"));
        define("table_filter_not", b -> b.<String, String>table("in", text("table"))
            .filterNot((k, v) -> odd(v)).toStream().to("out"));
        define("table_filter_into_store", b -> b.<String, String>table("in", text("table"))
            .filter((k, v) -> odd(v), text("odd")).toStream().to("out"));
        define("table_map_values", b -> b.<String, String>table("in", text("table"))
            .mapValues(v -> v + "+").toStream().to("out"));
        define("table_map_values_into_store", b -> b.<String, String>table("in", text("table"))
            .mapValues(v -> v + "+", text("mapped")).toStream().to("out"));
        define("table_group_count", b -> countsOut(b.<String, String>table("in", text("table"))
            .groupBy((k, v) -> KeyValue.pair(v, k), Grouped.with(TEXT, TEXT)).count(counts("by-value"))));
        define("table_group_reduce", b -> b.<String, String>table("in", text("table"))
            .groupBy((k, v) -> KeyValue.pair(odd(v) ? "odd" : "even", v), Grouped.with(TEXT, TEXT))
            .reduce((a, v) -> sum(a, v), (a, v) -> sum(a, "-" + v), text("sums")).toStream().to("out"));
        define("table_group_aggregate", b -> b.<String, String>table("in", text("table"))
            .groupBy((k, v) -> KeyValue.pair(odd(v) ? "odd" : "even", v), Grouped.with(TEXT, TEXT))
            .aggregate(() -> "", (k, v, a) -> a + "+" + v, (k, v, a) -> a + "-" + v, text("changes"))
            .toStream().to("out"));
        define("table_filter_then_group", b -> countsOut(b.<String, String>table("in", text("table"))
            .filter((k, v) -> odd(v))
            .groupBy((k, v) -> KeyValue.pair(v, k), Grouped.with(TEXT, TEXT)).count(counts("by-value"))));
    }

    private static String sum(String a, String b) {
        return Integer.toString(Integer.parseInt(a) + Integer.parseInt(b));
    }
}
