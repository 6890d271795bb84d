package vigie.parity;

import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.StateStore;

/** All topologies by name: the same names as in crates/streams/tests/parity. Keys and values are text everywhere. */
final class Topologies {
    record Definition(Consumer<StreamsBuilder> build, Map<String, String> settings) {}

    static final Map<String, Definition> ALL = new TreeMap<>();

    static {
        Stateless.topologies();
        Tables.topologies();
        Aggregations.topologies();
        Windows.topologies();
        Joins.topologies();
        Optimized.topologies();
        Held.topologies();
    }

    private Topologies() {}

    static void define(String name, Consumer<StreamsBuilder> build) {
        define(name, Map.of(), build);
    }

    static void define(String name, Map<String, String> settings, Consumer<StreamsBuilder> build) {
        if (ALL.put(name, new Definition(build, settings)) != null) {
            throw new IllegalStateException("two topologies are called " + name);
        }
    }

    static final Serde<String> TEXT = Serdes.String();

    /** A store of text values. */
    static <S extends StateStore> Materialized<String, String, S> text(String name) {
        return Materialized.<String, String, S>as(name).withKeySerde(TEXT).withValueSerde(TEXT);
    }

    /** A store of counts. */
    static <S extends StateStore> Materialized<String, Long, S> counts(String name) {
        return Materialized.<String, Long, S>as(name).withKeySerde(TEXT).withValueSerde(Serdes.Long());
    }

    /** Writes any value as its text; reads nothing. */
    static <T> Serde<T> written(java.util.function.Function<T, String> text) {
        return Serdes.serdeFrom(
            (topic, value) -> value == null ? null : text.apply(value).getBytes(java.nio.charset.StandardCharsets.UTF_8),
            (topic, bytes) -> {
                throw new UnsupportedOperationException("written only");
            });
    }

    /** Writes a table of counts to topic `out` as text. */
    static void countsOut(KTable<String, Long> table) {
        table.toStream().to("out", Produced.with(TEXT, written(Object::toString)));
    }

    /** Writes a windowed table to topic `out`, its keys as key@start/end. */
    static <V> void windowsOut(KTable<Windowed<String>, V> table) {
        table.toStream().to("out", Produced.with(written(Main::windowed), written(Object::toString)));
    }
}
