//! A state store of one's own, in a file that is written anew with each commit:
//! `cargo run -p vigie-streams --example own_store`. The engine puts types, caches, the changelog, transactions and queries around it.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use vigie_log::{BatchBuilder, Log, ProducerConfig, SimulatedLog, SystemClock, TopicPartition, TopicSpec};
use vigie_streams::{
    BoxError, Config, Consumed, State, StateStore, Store, StoreVisitor, Streams, StreamsBuilder,
};

#[derive(Default, Clone)]
struct Content {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    note: Option<Vec<u8>>,
}

/// One partition in one file. The file is replaced as a whole, so that a crash leaves the old one or the new one.
struct FileStore {
    path: PathBuf,
    content: RwLock<Content>,
}

impl FileStore {
    fn open(path: PathBuf) -> Result<Self, BoxError> {
        let content = match std::fs::read(&path) {
            // A file that cannot be read counts as none: the changelog has everything.
            Ok(bytes) => parse(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, content: RwLock::new(content) })
    }

    fn replace(&self, content: Content) -> Result<(), BoxError> {
        let pairs: Vec<_> = content.entries.iter().collect();
        let unfinished = self.path.with_extension("new");
        std::fs::write(&unfinished, serde_json::to_vec(&(pairs, &content.note))?)?;
        std::fs::rename(&unfinished, &self.path)?;
        *self.content.write().unwrap_or_else(PoisonError::into_inner) = content;
        Ok(())
    }

    fn content(&self) -> std::sync::RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }
}

type Stored = (Vec<(Vec<u8>, Vec<u8>)>, Option<Vec<u8>>);

fn parse(bytes: &[u8]) -> Option<Content> {
    let (pairs, note): Stored = serde_json::from_slice(bytes).ok()?;
    Some(Content { entries: pairs.into_iter().collect(), note })
}

impl StateStore for FileStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.content().entries.get(key).cloned())
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: StoreVisitor<'_>,
    ) -> Result<(), BoxError> {
        let content = self.content();
        let mut range = content.entries.range::<[u8], _>((from, to));
        while let Some((key, value)) = if reverse { range.next_back() } else { range.next() } {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn write(
        &self,
        entries: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        note: Option<&[u8]>,
    ) -> Result<(), BoxError> {
        let mut next = self.content().clone();
        for (key, value) in entries {
            match value {
                Some(value) => next.entries.insert(key.to_vec(), value.to_vec()),
                None => next.entries.remove(key),
            };
        }
        next.note = note.map(<[u8]>::to_vec).or(next.note);
        self.replace(next)
    }

    fn note(&self) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.content().note.clone())
    }

    fn wipe(&self) -> Result<(), BoxError> {
        self.replace(Content::default())
    }

    fn approximate_len(&self) -> u64 {
        self.content().entries.len() as u64
    }
}

fn main() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let log = SimulatedLog::new(Arc::new(SystemClock::new()), 1);
    log.admin().create_topic(&TopicSpec::new("words", 1).with("retention.ms", "-1"))?;
    let mut producer = log.producer(ProducerConfig::default())?;
    let mut batch = BatchBuilder::new();
    for word in ["tea", "milk", "tea"] {
        batch.push(1, Some(word.as_bytes()), Some(&1_i64.to_be_bytes()), &[]);
    }
    producer.begin()?;
    producer.append(&TopicPartition::new("words", 0), &mut batch)?;
    producer.commit()?;

    let place = folder.path().to_path_buf();
    let store = Store::<String, i64>::named("counts").supplied(move |name, partition| {
        let file = FileStore::open(place.join(format!("{name}-{partition}.json")))?;
        Ok(Arc::new(file) as Arc<dyn StateStore>)
    });
    let mut builder = StreamsBuilder::new();
    builder.stream("words", Consumed::<String, i64>::default()).group_by_key().count(store);
    let config = Config::new("own-store", Arc::new(log) as Arc<dyn Log>);
    let app = Streams::new(builder.build()?, config).start()?;
    if !app.wait_for(State::Running, Duration::from_secs(10)) {
        return Err("the program does not run".into());
    }
    let counts = app.store::<String, i64>("counts")?;
    for _ in 0..1_000 {
        if counts.get(&String::from("tea"))? == Some(2) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for entry in counts.all() {
        let (word, count) = entry?;
        println!("{word}: {count}");
    }
    app.close(Duration::from_secs(10));
    let file = folder.path().join("counts-0.json");
    println!("{} bytes in {}", std::fs::metadata(&file)?.len(), file.display());
    Ok(())
}
