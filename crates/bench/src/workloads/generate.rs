//! The page views that other engines were measured with: the same numbers in the same order, so that figures can be compared.

use anyhow::Result;
use vigie_log::{BatchBuilder, Log, ProducerConfig, TopicPartition, TopicSpec};

/// Partitions of every topic of these workloads.
pub const PARTITIONS: u32 = 4;
const PAGES: u64 = 1_000;
const BATCH: u64 = 20_000;

/// Xorshift64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Makes a topic whose records are as old as these.
pub fn topic(log: &dyn Log, name: &str) -> Result<()> {
    Ok(log.admin().create_topic(&TopicSpec::new(name, PARTITIONS).with("retention.ms", "-1"))?)
}

/// Writes `records` page views of `users` users to a topic; returns how many are longer than 100 ms.
pub fn page_views(log: &dyn Log, topic: &str, records: u64, users: u64) -> Result<u64> {
    let mut producer = log.producer(ProducerConfig::default())?;
    let mut builders: Vec<(TopicPartition, BatchBuilder)> =
        (0..PARTITIONS).map(|p| (TopicPartition::new(topic, p), BatchBuilder::new())).collect();
    let mut dice = Dice(88_172_645_463_325_252);
    let (mut long, mut done) = (0, 0);
    while done < records {
        let end = records.min(done + BATCH);
        for i in done..end {
            let x = dice.next();
            let (page, user, duration) = (x % PAGES, (x >> 20) % users, (x >> 40) % 9_000);
            let at = 1_750_000_000_000 + (i / 10) as i64;
            long += u64::from(duration > 100);
            let key = format!("U{user}");
            let value =
                format!("{{\"name\":\"P{page}\",\"user\":\"{key}\",\"date\":{at},\"duration\":{duration}}}");
            if let Some((_, builder)) = builders.get_mut((i % u64::from(PARTITIONS)) as usize) {
                builder.push(at, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
            }
        }
        producer.begin()?;
        for (partition, builder) in &mut builders {
            producer.append(partition, builder)?;
        }
        producer.commit()?;
        done = end;
    }
    Ok(long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_xorshift64() {
        // Worked out with integers of any size, cut to 64 bits.
        let mut dice = Dice(88_172_645_463_325_252);
        assert_eq!((dice.next(), dice.next()), (8_748_534_153_485_358_512, 3_040_900_993_826_735_515));
    }
}
