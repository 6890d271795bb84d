package vigie.parity;

import static vigie.parity.Topologies.TEXT;
import static vigie.parity.Topologies.define;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Operators without state, and processors. */
final class Stateless {
    private Stateless() {}

    private static boolean odd(String value) {
        return value != null && Integer.parseInt(value) % 2 == 1;
    }

    static void topologies() {
        define("filter", b -> b.<String, String>stream("in").filter((k, v) -> odd(v)).to("out"));
        define("filter_not", b -> b.<String, String>stream("in").filterNot((k, v) -> odd(v)).to("out"));
        // Functions of ours never see a null value: a record without one has nothing to be mapped from.
        define("map", b -> b.<String, String>stream("in")
            .filter((k, v) -> v != null)
            .map((k, v) -> KeyValue.pair(k + "!", v + k)).to("out"));
        define("map_values", b -> b.<String, String>stream("in").mapValues(v -> v == null ? null : v + "+").to("out"));
        define("map_values_with_key", b -> b.<String, String>stream("in")
            .mapValues((k, v) -> v == null ? null : k + v).to("out"));
        define("flat_map", b -> b.<String, String>stream("in")
            .filter((k, v) -> v != null)
            .flatMap((k, v) -> List.of(KeyValue.pair(v, k + ""), KeyValue.pair(k + "", v))).to("out"));
        define("flat_map_values", b -> b.<String, String>stream("in")
            .filter((k, v) -> v != null)
            .flatMapValues(v -> Arrays.asList(v, v + v)).to("out"));
        define("select_key", b -> b.<String, String>stream("in")
            .filter((k, v) -> v != null).selectKey((k, v) -> v).to("out"));
        define("peek_and_for_each", b -> {
            KStream<String, String> in = b.<String, String>stream("in").peek((k, v) -> {});
            in.to("out");
            in.foreach((k, v) -> {});
        });
        define("branch", b -> {
            Map<String, KStream<String, String>> branches = b.<String, String>stream("in")
                .split()
                .branch((k, v) -> odd(v))
                .branch((k, v) -> v != null && "a".equals(k))
                .defaultBranch();
            String[] names = branches.keySet().stream().sorted().toArray(String[]::new);
            branches.get(names[1]).to("odd");
            branches.get(names[2]).to("a");
            branches.get(names[0]).to("rest");
        });
        define("merge", b -> {
            KStream<String, String> left = b.stream("left");
            KStream<String, String> right = b.stream("right");
            left.merge(right.mapValues(v -> v == null ? null : "r" + v)).to("out");
        });
        define("named_nodes", b -> b.<String, String>stream("in")
            .filter((k, v) -> odd(v), Named.as("only-odd"))
            .mapValues(v -> v + "+", Named.as("plus"))
            .to("out"));
        define("several_topics", b -> b.<String, String>stream(List.of("left", "right")).to("out"));
        define("chosen_topic", b -> b.<String, String>stream("in")
            .to((k, v, context) -> odd(v) ? "odd" : "even"));
        define("repartition", b -> b.<String, String>stream("in")
            .filter((k, v) -> v != null)
            .selectKey((k, v) -> v)
            .repartition(Repartitioned.<String, String>as("by-value").withKeySerde(TEXT).withValueSerde(TEXT).withNumberOfPartitions(1))
            .mapValues(v -> v + "+").to("out"));
        define("process", b -> {
            b.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("seen"), TEXT, TEXT));
            b.<String, String>stream("in").process(Remember::new, "seen").to("out");
        });
        define("process_values", b -> {
            b.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("last"), TEXT, TEXT));
            b.<String, String>stream("in").processValues(Previous::new, "last").to("out");
        });
        define("punctuate_stream_time", b -> punctuate(b, PunctuationType.STREAM_TIME));
        define("punctuate_wall_clock", b -> punctuate(b, PunctuationType.WALL_CLOCK_TIME));
    }

    private static void punctuate(org.apache.kafka.streams.StreamsBuilder b, PunctuationType type) {
        b.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("seen"), TEXT, TEXT));
        b.<String, String>stream("in").process(() -> new Report(type), "seen").to("out");
    }

    /** Appends each value to what it has of the key; forwards all it has; a null value forgets the key. */
    private static class Remember extends ContextualProcessor<String, String, String, String> {
        KeyValueStore<String, String> seen;

        @Override
        public void init(ProcessorContext<String, String> context) {
            super.init(context);
            seen = context.getStateStore("seen");
        }

        @Override
        public void process(Record<String, String> record) {
            if (record.key() == null) {
                return;
            }
            if (record.value() == null) {
                seen.delete(record.key());
                context().forward(record);
                return;
            }
            String before = seen.get(record.key());
            String now = (before == null ? "" : before) + record.value();
            seen.put(record.key(), now);
            context().forward(record.withValue(now));
        }
    }

    /** The value together with the one before. */
    private static final class Previous extends ContextualFixedKeyProcessor<String, String, String> {
        KeyValueStore<String, String> last;

        @Override
        public void init(org.apache.kafka.streams.processor.api.FixedKeyProcessorContext<String, String> context) {
            super.init(context);
            last = context.getStateStore("last");
        }

        @Override
        public void process(FixedKeyRecord<String, String> record) {
            if (record.key() == null || record.value() == null) {
                return;
            }
            String before = last.get(record.key());
            last.put(record.key(), record.value());
            context().forward(record.withValue((before == null ? "-" : before) + ">" + record.value()));
        }
    }

    /** Remembers, and each 50 ms tells everything it has. */
    private static final class Report extends Remember {
        private final PunctuationType type;

        Report(PunctuationType type) {
            this.type = type;
        }

        @Override
        public void init(ProcessorContext<String, String> context) {
            super.init(context);
            context.schedule(Duration.ofMillis(50), type, at -> {
                try (KeyValueIterator<String, String> all = seen.all()) {
                    while (all.hasNext()) {
                        KeyValue<String, String> entry = all.next();
                        context.forward(new Record<>(entry.key, "all " + entry.value, at));
                    }
                }
            });
        }
    }
}
