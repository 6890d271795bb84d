package vigie.parity;

import static vigie.parity.Topologies.define;
import static vigie.parity.Topologies.text;

import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;

/** Joins of streams and tables. */
final class Joins {
    private Joins() {}

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
    }
}
