//! `vigie produce`: one message a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use vigie_log::{LogError, Message, Publisher, SystemClock};

use super::interrupt::Interrupt;
use super::{Exit, Failure, Global, Outcome, out, place};

/// A line longer than this is an error: without a limit one missing line end would fill the memory.
const MAX_LINE: u64 = 64 << 20;
/// How long Ctrl-C waits at most.
const LOOK_UP: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  echo '{\"name\":\"P1\",\"user\":\"U1\",\"date\":1750000000000,\"duration\":1200}' | vigie produce R1\n  \
                        vigie produce evenements --file events.jsonl\n  \
                        vigie produce clics --key-separator ';' --header source=batch --file clics.txt"
)]
pub(super) struct Produce {
    /// The topic
    topic: String,
    /// Read lines from this file; default: standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The key is what stands before the first of these on each line
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// A header of every message, may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// Always this partition; default: by the key, as Kafka does, or in turn
    #[arg(long)]
    partition: Option<u32>,
}

impl Produce {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let mut headers = Vec::new();
        for header in &self.headers {
            let Some((name, value)) = header.split_once('=') else {
                return Err(Failure::new(Exit::Usage, format!("--header {header}: write NAME=VALUE")));
            };
            headers.push((name.to_owned(), value.as_bytes().to_vec()));
        }
        if self.key_separator.as_deref() == Some("") {
            return Err(Failure::new(Exit::Usage, "--key-separator is empty; name at least one character"));
        }
        let input: Box<dyn Read + Send> = match &self.file {
            None => Box::new(std::io::stdin()),
            Some(path) => Box::new(File::open(path).map_err(|error| {
                Failure::new(
                    Exit::BadInput,
                    format!("{}: cannot be read: {error}; check the path", path.display()),
                )
            })?),
        };
        let config = place::config(global)?;
        let data = place::existing_data(global, &config)?;
        let log = place::open(&data, &config, false)?;
        let count = log.admin().partition_count(&self.topic)?;
        if let Some(partition) = self.partition.filter(|partition| *partition >= count) {
            return Err(LogError::UnknownPartition { topic: self.topic, partition, count }.into());
        }
        let publisher = Publisher::start(log, Duration::from_millis(5), Arc::new(SystemClock::new()))?;
        let interrupt = Interrupt::listen();
        let written = Arc::new(AtomicU64::new(0));
        let failed: Arc<Mutex<Option<(u64, LogError)>>> = Arc::default();
        let mut progress = out::Progress::spinner("producing");
        let lines = lines(input)?;
        let mut bad = Vec::new();
        let mut number = 0_u64;
        while !interrupt.asked() {
            let mut line = match lines.recv_timeout(LOOK_UP) {
                Ok(line) => line.map_err(|reason| {
                    Failure::new(Exit::BadInput, format!("line {}: {reason}", number + 1))
                })?,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            number += 1;
            while matches!(line.last(), Some(b'\n' | b'\r')) {
                line.pop();
            }
            if line.is_empty() {
                continue;
            }
            let (key, value) = match &self.key_separator {
                None => (None, line),
                Some(separator) => match find(&line, separator.as_bytes()) {
                    Some(at) => {
                        let value = line.split_off(at + separator.len());
                        line.truncate(at);
                        (Some(line), value)
                    }
                    None => {
                        bad.push(number);
                        continue;
                    }
                },
            };
            let message = Message {
                topic: self.topic.clone(),
                partition: self.partition,
                key,
                value: Some(value),
                headers: headers.clone(),
                timestamp: None,
            };
            let (written, failed) = (Arc::clone(&written), Arc::clone(&failed));
            publisher.publish(message, move |outcome| match outcome {
                Ok(_) => {
                    written.fetch_add(1, Ordering::SeqCst);
                }
                Err(error) => {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((number, error));
                }
            });
            progress.set(number);
        }
        publisher.close();
        progress.finish();
        let written = written.load(Ordering::SeqCst);
        if global.json {
            out::line(json!({"topic": self.topic, "written": written, "without_key": bad}))?;
        } else {
            out::line(format_args!("{written} message(s) written to `{}`", self.topic))?;
        }
        if let Some((line, error)) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let failure = Failure::from(error);
            return Err(Failure::new(failure.exit, format!("line {line}: {}", failure.message)));
        }
        if let Some(first) = bad.first() {
            let message = format!(
                "{} line(s) without the key separator were left out, the first is line {first}; write KEY{}VALUE",
                bad.len(),
                self.key_separator.unwrap_or_default()
            );
            return Err(Failure::new(Exit::BadInput, message));
        }
        Ok(Exit::Ok)
    }
}

/// The lines of the input, read on a thread of their own: a wait for somebody who types must not keep Ctrl-C waiting.
fn lines(input: Box<dyn Read + Send>) -> Result<Receiver<Result<Vec<u8>, String>>, Failure> {
    let (sender, receiver) = sync_channel(1_000);
    let read = move || {
        let mut input = BufReader::new(input);
        loop {
            let mut line = Vec::new();
            let line = match (&mut input).take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(read) if read as u64 == MAX_LINE && line.last() != Some(&b'\n') => {
                    Err(String::from("longer than 64 MiB; is a line end missing?"))
                }
                Ok(_) => Ok(line),
                Err(error) => Err(format!("the input cannot be read further: {error}")),
            };
            let last = line.is_err();
            // Nobody takes lines any more: there is nothing left to do.
            if sender.send(line).is_err() || last {
                break;
            }
        }
    };
    std::thread::Builder::new()
        .name(String::from("input"))
        .spawn(read)
        .map_err(|error| Failure::new(Exit::Failure, format!("a thread cannot be started: {error}")))?;
    Ok(receiver)
}

/// Where `needle` begins in `hay`.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}
