package vigie.parity;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TestOutputTopic;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.WindowStore;
import org.apache.kafka.streams.test.TestRecord;

/**
 * Reads one line of JSON for each topology, {"topology": NAME, "scenarios": [[STEP, ...], ...]}, runs each scenario through
 * Kafka Streams and writes, for each topology, one line with its description and one line for each scenario.
 *
 * <p>A step is [TOPIC, KEY, VALUE, TIMESTAMP] (a record; KEY and VALUE may be null) or a number (milliseconds by which the
 * wall clock advances). Output: {"out": [[STEP, TOPIC, KEY, VALUE, TIMESTAMP], ...], "stores": {NAME: [[KEY, VALUE], ...]},
 * "dropped": N}; the order of records within one topic and step is the order in which they were written.
 */
public final class Main {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String APPLICATION = "parity";

    public static void main(String[] arguments) throws Exception {
        Path states = Files.createTempDirectory("parity");
        ExecutorService pool = Executors.newFixedThreadPool(Math.max(1, Runtime.getRuntime().availableProcessors()));
        List<Future<List<String>>> results = new ArrayList<>();
        try (BufferedReader in = Files.newBufferedReader(Path.of(arguments[0]))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                JsonNode job = JSON.readTree(line);
                results.add(pool.submit(() -> run(job, states)));
            }
        }
        boolean failed = false;
        try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(Path.of(arguments[1])))) {
            for (Future<List<String>> result : results) {
                try {
                    result.get().forEach(out::println);
                } catch (Exception error) {
                    failed = true;
                    error.printStackTrace();
                }
            }
        }
        pool.shutdown();
        System.exit(failed ? 1 : 0);
    }

    private static List<String> run(JsonNode job, Path states) throws Exception {
        String name = job.get("topology").asText();
        Topologies.Definition definition = Topologies.ALL.get(name);
        if (definition == null) {
            throw new IllegalArgumentException("there is no topology `" + name + "` in dev/parity");
        }
        List<String> lines = new ArrayList<>();
        ObjectNode head = JSON.createObjectNode();
        head.put("topology", name);
        Path state = Files.createTempDirectory(states, name);
        // A lambda's name is not the same twice.
        head.put("describe", topology(definition, properties(definition, state)).describe().toString()
            .replaceAll("extractor class: [^)]*", "extractor class: closure"));
        lines.add(JSON.writeValueAsString(head));
        for (JsonNode scenario : job.get("scenarios")) {
            try {
                lines.add(JSON.writeValueAsString(scenario(definition, scenario, state)));
            } catch (Exception error) {
                throw new RuntimeException(name + ": " + scenario, error);
            }
        }
        return lines;
    }

    private static Properties properties(Topologies.Definition definition, Path state) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, APPLICATION);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "none:1");
        properties.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        // Every update is seen; a cache would hide those between two commits.
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        definition.settings().forEach(properties::put);
        return properties;
    }

    private static Topology topology(Topologies.Definition definition, Properties properties) {
        StreamsBuilder builder = new StreamsBuilder();
        definition.build().accept(builder);
        return builder.build(properties);
    }

    private static ObjectNode scenario(Topologies.Definition definition, JsonNode steps, Path state) {
        Properties properties = properties(definition, state);
        Topology topology = topology(definition, properties);
        ObjectNode result = JSON.createObjectNode();
        ArrayNode out = result.putArray("out");
        try (TopologyTestDriver driver = new TopologyTestDriver(topology, properties, Instant.ofEpochMilli(0))) {
            Map<String, TestInputTopic<String, String>> inputs = new TreeMap<>();
            Map<String, TestOutputTopic<String, String>> outputs = new TreeMap<>();
            collect(driver, outputs, -1, out);
            int number = 0;
            for (JsonNode step : steps) {
                if (step.isNumber()) {
                    driver.advanceWallClockTime(Duration.ofMillis(step.asLong()));
                } else {
                    String topic = step.get(0).asText();
                    inputs.computeIfAbsent(
                            topic, name -> driver.createInputTopic(name, new StringSerializer(), new StringSerializer()))
                        .pipeInput(text(step.get(1)), text(step.get(2)), step.get(3).asLong());
                }
                collect(driver, outputs, number++, out);
            }
            stores(driver, result.putObject("stores"));
            double dropped = driver.metrics().entrySet().stream()
                .filter(metric -> metric.getKey().name().equals("dropped-records-total"))
                .mapToDouble(metric -> (Double) metric.getValue().metricValue()).sum();
            result.put("dropped", (long) dropped);
        }
        return result;
    }

    private static String text(JsonNode node) {
        return node.isNull() ? null : node.asText();
    }

    private static void collect(
            TopologyTestDriver driver, Map<String, TestOutputTopic<String, String>> outputs, int step, ArrayNode out) {
        for (String topic : new java.util.TreeSet<>(driver.producedTopicNames())) {
            if (topic.startsWith(APPLICATION + "-")) {
                continue; // internal topics: their bytes are each implementation's own affair
            }
            TestOutputTopic<String, String> output = outputs.computeIfAbsent(
                topic, name -> driver.createOutputTopic(name, new StringDeserializer(), new StringDeserializer()));
            for (TestRecord<String, String> record : output.readRecordsToList()) {
                out.addArray().add(step).add(topic).add(record.key()).add(record.value()).add(record.timestamp());
            }
        }
    }

    /** The end content of the stores that have a name of their own, in the store's order. */
    private static void stores(TopologyTestDriver driver, ObjectNode result) {
        for (Map.Entry<String, StateStore> entry : new TreeMap<>(driver.getAllStateStores()).entrySet()) {
            String name = entry.getKey();
            if (!Character.isLowerCase(name.charAt(0))) {
                continue;
            }
            KeyValueStore<Object, Object> keyValue = quietly(() -> driver.getKeyValueStore(name));
            WindowStore<Object, Object> window = keyValue != null ? null : quietly(() -> driver.getWindowStore(name));
            SessionStore<Object, Object> session =
                keyValue != null || window != null ? null : quietly(() -> driver.getSessionStore(name));
            if (keyValue != null) {
                dump(keyValue.all(), result.putArray(name));
            } else if (window != null) {
                dump(window.all(), result.putArray(name));
            } else if (session != null) {
                dump(session.fetch(null, null), result.putArray(name));
            }
        }
    }

    private interface Get<T> {
        T get();
    }

    private static <T> T quietly(Get<T> get) {
        try {
            return get.get();
        } catch (IllegalArgumentException otherKind) {
            return null;
        }
    }

    private static <K, V> void dump(KeyValueIterator<K, V> entries, ArrayNode out) {
        try (entries) {
            while (entries.hasNext()) {
                KeyValue<K, V> entry = entries.next();
                String key = entry.key instanceof Windowed<?> windowed ? windowed(windowed) : String.valueOf(entry.key);
                out.addArray().add(key).add(String.valueOf(entry.value));
            }
        }
    }

    /** How a windowed key reads in outputs and stores, on both sides: key@start/end. */
    static String windowed(Windowed<?> key) {
        return key.key() + "@" + key.window().start() + "/" + key.window().end();
    }
}
