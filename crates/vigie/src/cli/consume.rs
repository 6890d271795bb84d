//! `vigie consume`: messages of a topic, to standard output.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use vigie_log::{Log, LogError, MemberConfig, RecordRef, TopicPartition};

use super::interrupt::Interrupt;
use super::place::Place;
use super::remote::{Remote, partitions};
use super::{Exit, Failure, Global, Outcome, place};

/// How often a running instance is asked for more.
const POLL: Duration = Duration::from_millis(500);
/// Messages per request to a running instance.
const PAGE: usize = 200;
/// How long a group waits for its first records before it takes the end of the topic for reached.
const GROUP_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vigie consume evenements --from-beginning              everything there is, then stop\n  \
                        vigie consume churn-scores                             what comes in from now on, until Ctrl-C\n  \
                        vigie consume evenements --group compta --max-messages 100\n  \
                        vigie consume anomalies --from-beginning --json | jq .value.reason\n\n\
                        Beside a running vigie personal fields are masked, and its messages are read through its API."
)]
pub(super) struct Consume {
    /// The topic
    topic: String,
    /// From the first record there is, and stop at the end
    #[arg(long)]
    from_beginning: bool,
    /// Do not stop at the end: wait for more
    #[arg(long)]
    follow: bool,
    /// Stop after so many messages
    #[arg(long, value_name = "N")]
    max_messages: Option<u64>,
    /// This partition only
    #[arg(long)]
    partition: Option<u32>,
    /// Read as a member of this group: from where the group stopped, and remember how far it got
    #[arg(long, conflicts_with = "partition")]
    group: Option<String>,
}

/// What was printed so far, and how much may be.
struct Printer {
    json: bool,
    left: u64,
    printed: u64,
}

impl Printer {
    fn full(&self) -> bool {
        self.left == 0
    }

    fn print(&mut self, text: &[u8]) -> std::io::Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text)?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
        self.left -= 1;
        self.printed += 1;
        Ok(())
    }

    fn record(&mut self, partition: &TopicPartition, record: &RecordRef<'_>) -> std::io::Result<()> {
        if !self.json {
            return self.print(record.value.unwrap_or_default());
        }
        let headers: serde_json::Map<String, Value> = record
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), header.value.map_or(Value::Null, text)))
            .collect();
        let line = json!({"topic": partition.topic.as_ref(), "partition": partition.partition, "offset": record.offset,
            "timestamp": record.timestamp, "key": record.key.map(text), "value": record.value.map(value),
            "headers": headers});
        self.print(line.to_string().as_bytes())
    }
}

/// Bytes as text; what is not UTF-8 as base64 in an object.
fn text(bytes: &[u8]) -> Value {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({"base64": base64::engine::general_purpose::STANDARD.encode(bytes)}),
    }
}

/// JSON as JSON, anything else as text.
fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| text(bytes))
}

impl Consume {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let config = place::config(global)?;
        let data = place::existing_data(global, &config)?;
        let mut printer =
            Printer { json: global.json, left: self.max_messages.unwrap_or(u64::MAX), printed: 0 };
        let interrupt = Interrupt::listen();
        match place::open_or_ask(&data, &config)? {
            Place::Here(log) => {
                if !self.from_beginning && self.group.is_none() {
                    return Err(Failure::new(
                        Exit::Usage,
                        "no vigie is running in this folder, so nothing can come in while this command holds the log; \
                         say --from-beginning to read what is there, or start `vigie run` first",
                    ));
                }
                match &self.group {
                    Some(group) => self.as_group(log.as_ref(), group, &mut printer, &interrupt)?,
                    None => self.here(log.as_ref(), &mut printer, &interrupt)?,
                }
            }
            Place::Running(_) if self.group.is_some() => {
                return Err(Failure::new(
                    Exit::Unavailable,
                    "the log is in use by a running vigie; groups work only when it is stopped. Leave out --group to read beside it",
                ));
            }
            Place::Running(remote) => self.beside(&remote, &mut printer, &interrupt)?,
        }
        let empty = printer.printed == 0 && !interrupt.asked() && self.max_messages != Some(0);
        Ok(if empty { Exit::NothingFound } else { Exit::Ok })
    }

    fn here(&self, log: &dyn Log, printer: &mut Printer, interrupt: &Interrupt) -> Result<(), Failure> {
        let ends = log.admin().offsets(&self.topic)?;
        let count = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        if let Some(partition) = self.partition.filter(|partition| *partition >= count) {
            return Err(LogError::UnknownPartition { topic: self.topic.clone(), partition, count }.into());
        }
        let wanted: Vec<(TopicPartition, i64)> = (0..count)
            .zip(&ends)
            .filter(|(number, _)| self.partition.is_none_or(|partition| partition == *number))
            .map(|(number, ends)| (TopicPartition::new(self.topic.as_str(), number), ends.latest))
            .collect();
        let partitions: Vec<TopicPartition> = wanted.iter().map(|(partition, _)| partition.clone()).collect();
        let mut reader = log.reader(&partitions)?;
        let unread = |reader: &dyn vigie_log::Reader| {
            wanted.iter().any(|(partition, end)| reader.position(partition).is_some_and(|at| at < *end))
        };
        while !printer.full() && !interrupt.asked() && unread(reader.as_ref()) {
            for fetched in reader.poll(POLL)? {
                for record in fetched.batch.iter() {
                    if printer.full() || interrupt.asked() {
                        return Ok(());
                    }
                    printer.record(&fetched.partition, &record)?;
                }
            }
        }
        Ok(())
    }

    fn as_group(
        &self,
        log: &dyn Log,
        group: &str,
        printer: &mut Printer,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let mut member = log.member(MemberConfig::new(group, [self.topic.as_str()]))?;
        let mut waited = Duration::ZERO;
        while !printer.full() && !interrupt.asked() {
            let polled = member.poll(POLL)?;
            if polled.batches.is_empty() {
                waited += POLL;
                if !self.follow && waited >= GROUP_PATIENCE {
                    break;
                }
                continue;
            }
            waited = Duration::ZERO;
            for fetched in &polled.batches {
                let from =
                    member.committed(std::slice::from_ref(&fetched.partition))?.pop().flatten().unwrap_or(0);
                let mut next = None;
                for record in fetched.batch.iter().filter(|record| record.offset >= from) {
                    if printer.full() {
                        break;
                    }
                    printer.record(&fetched.partition, &record)?;
                    next = Some(record.offset + 1);
                }
                // Committed only what was printed: the next reader of the group goes on exactly there.
                if let Some(next) = next {
                    member.commit(&[(fetched.partition.clone(), next)])?;
                }
            }
        }
        Ok(member.close()?)
    }

    fn beside(&self, remote: &Remote, printer: &mut Printer, interrupt: &Interrupt) -> Result<(), Failure> {
        let topic = remote.topic(&self.topic)?;
        let count = partitions(&topic);
        let numbers: Vec<u64> = match self.partition {
            Some(partition) if u64::from(partition) >= count => {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                return Err(LogError::UnknownPartition { topic: self.topic.clone(), partition, count }.into());
            }
            Some(partition) => vec![u64::from(partition)],
            None => (0..count).collect(),
        };
        let offset = |message: &Value| message.get("offset").and_then(Value::as_i64);
        let mut positions = Vec::new();
        for partition in numbers {
            let from = if self.from_beginning {
                String::from("earliest")
            } else {
                // The newest message there is; the next one is the first to be printed.
                let last = remote.messages(&self.topic, partition, "latest", 1)?;
                last.iter()
                    .filter_map(offset)
                    .max()
                    .map_or_else(|| String::from("earliest"), |at| (at + 1).to_string())
            };
            positions.push((partition, from));
        }
        let follow = self.follow || !self.from_beginning;
        loop {
            let mut any = false;
            for (partition, from) in &mut positions {
                if printer.full() || interrupt.asked() {
                    return Ok(());
                }
                let mut messages = remote.messages(&self.topic, *partition, from, PAGE)?;
                messages.sort_by_key(|message| offset(message).unwrap_or(i64::MAX));
                for message in messages {
                    if printer.full() {
                        return Ok(());
                    }
                    let Some(at) = offset(&message) else { continue };
                    any = true;
                    *from = (at + 1).to_string();
                    if printer.json {
                        printer.print(message.to_string().as_bytes())?;
                    } else {
                        match message.get("value") {
                            Some(Value::String(text)) => printer.print(text.as_bytes())?,
                            Some(other) => printer.print(other.to_string().as_bytes())?,
                            None => printer.print(b"")?,
                        }
                    }
                }
            }
            if !any {
                if !follow {
                    return Ok(());
                }
                std::thread::sleep(POLL);
            }
        }
    }
}
