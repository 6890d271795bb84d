package vigie.peers;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Time from a record's sending to the sight of its result by a reader of committed records. Each record has a user of its own, so that each
 * result tells which record it is of. The first fifth is not counted: virtual machines warm up.
 */
final class Probe {
  private Probe() {}

  static void run(Peer peer) throws Exception {
    int rate = (int) peer.number("rate", 1000);
    int seconds = (int) peer.number("seconds", 30);
    int count = rate * seconds;
    AtomicLongArray sent = new AtomicLongArray(count);
    long[] took = new long[count];
    Properties writing = new Properties();
    writing.put("bootstrap.servers", peer.option("bootstrap"));
    writing.put("linger.ms", "0");
    Properties reading = new Properties();
    reading.put("bootstrap.servers", peer.option("bootstrap"));
    reading.put("isolation.level", "read_committed");
    reading.put("fetch.min.bytes", "1");
    try (KafkaProducer<String, byte[]> producer = new KafkaProducer<>(writing, new StringSerializer(), new ByteArraySerializer());
        KafkaConsumer<String, byte[]> consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new ByteArrayDeserializer())) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(peer.option("results")).stream().map(Probe::at).toList();
      consumer.assign(partitions);
      consumer.seekToEnd(partitions);
      partitions.forEach(consumer::position);
      int inputs = producer.partitionsFor(peer.option("topic")).size();
      Thread writer = new Thread(() -> write(producer, peer.option("topic"), inputs, rate, sent));
      writer.setDaemon(true);
      writer.start();
      long until = System.nanoTime() + (seconds + 60) * 1_000_000_000L;
      int came = 0;
      while (came < count) {
        for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofMillis(1000))) {
          long now = System.nanoTime();
          int number = Integer.parseInt(record.key().substring(1));
          if (took[number] == 0) {
            took[number] = now - sent.get(number);
            came++;
          }
        }
        if (System.nanoTime() > until) {
          System.err.println(came + " of " + count + " results came");
          System.exit(1);
        }
      }
    }
    long[] counted = Arrays.copyOfRange(took, count / 5, count);
    Arrays.sort(counted);
    System.out.printf(
        Locale.ROOT,
        "{\"workload\":\"latency\",\"records\":%d,\"rate\":%d,\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"max_ms\":%.1f}%n",
        counted.length,
        rate,
        counted[counted.length / 2] / 1e6,
        counted[counted.length * 99 / 100] / 1e6,
        counted[counted.length - 1] / 1e6);
  }

  private static TopicPartition at(PartitionInfo info) {
    return new TopicPartition(info.topic(), info.partition());
  }

  private static void write(KafkaProducer<String, byte[]> producer, String topic, int partitions, int rate, AtomicLongArray sent) {
    long begin = System.nanoTime();
    for (int i = 0; i < sent.length(); i++) {
      long due = begin + 1_000_000_000L * i / rate;
      while (System.nanoTime() < due) {
        LockSupport.parkNanos(due - System.nanoTime());
      }
      String user = "U" + i;
      long at = System.currentTimeMillis();
      String view = "{\"name\":\"P1\",\"user\":\"" + user + "\",\"date\":" + at + ",\"duration\":" + i % 9000 + "}";
      sent.set(i, System.nanoTime());
      producer.send(new ProducerRecord<>(topic, i % partitions, at, user, view.getBytes(StandardCharsets.UTF_8)));
    }
  }
}
