//! Foreign-key joins (KIP-213): what flows between the two tables.
//!
//! ```text
//! left table ──▶ Subscribe ──▶ registration topic, by foreign key ──▶ Receive (store of subscriptions) ──▶ Answer ──┐
//!                                                            right table ──▶ Notify (reads that store) ──▶ response topic, by key
//!                                                                                  left table's rows ──▶ Resolve ──▶ result
//! ```
//! A row of the left table subscribes to its foreign key. Each answer carries the hash of the row that asked; an answer to a row that is no
//! longer the current one is dropped, so that answers that overtake each other do no harm.

use std::sync::Arc;

use super::foreign_key_format::{Instruction, Response, Subscription};
use super::join_tables::RowJoiner;
use super::murmur3::murmur3_128;
use super::{store, store_of};
use crate::dsl::view::Look;
use crate::error::{Failure, StateError};
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Headers, Record};
use crate::serde::{SerdeError, SerdeRef};
use crate::state::{CombinedKey, CombinedKeys, after_prefix};

/// `(key, row of the left table) -> foreign key`.
pub(crate) type ForeignKeyOf<K, V, F> = Arc<dyn Fn(&K, &V) -> Option<F> + Send + Sync>;

/// The hash by which a row is known in answers.
fn hash_of<V>(serde: &SerdeRef<V>, row: &V, node: &str) -> Result<[u64; 2], Box<Failure>> {
    let mut bytes = Vec::new();
    serde.encode(row, &mut bytes).map_err(|source| encode_failure(node, "value", source))?;
    Ok(murmur3_128(&bytes))
}

fn encode_failure(node: &str, what: &'static str, source: SerdeError) -> Box<Failure> {
    Box::new(Failure::Encode { node: node.into(), what, topic: "subscriptions".into(), source })
}

/// Tells the right table's side which row wants which foreign key.
pub(crate) struct Subscribe<K, V, F> {
    pub name: Arc<str>,
    pub extract: ForeignKeyOf<K, V, F>,
    pub foreign_key: SerdeRef<F>,
    pub value: SerdeRef<V>,
    pub left: bool,
    pub versioned: bool,
    pub out: Out<Option<F>, Subscription<K>>,
}

impl<K, V, F> Operator<K, Change<V>> for Subscribe<K, V, F>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    F: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, Change<V>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let Some(change) = value else { return Ok(()) };
        if self.versioned && !change.latest {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        let foreign = |row: &Option<V>| {
            let foreign = row.as_ref().and_then(|row| (self.extract)(&key, row));
            foreign.filter(|foreign| !self.foreign_key.is_null(foreign))
        };
        let (old, new) = (foreign(&change.old), foreign(&change.new));
        let hash = change.new.as_ref().map(|row| hash_of(&self.value, row, &self.name)).transpose()?;
        let partition = Some(cx.task.metadata.partition);
        let send = |foreign: Option<F>, instruction: Instruction, cx: &mut Cx<'_>| {
            let value = Some(Subscription { hash, instruction, key: key.clone(), partition });
            self.out.forward(Record { key: foreign, value, timestamp, headers: headers.clone() }, cx)
        };
        if self.left {
            if change.old.is_none() && change.new.is_none() {
                return Ok(());
            }
            if old.is_some() && self.differ(old.as_ref(), new.as_ref())? {
                send(old, Instruction::DeleteSilently, cx)?;
            }
            // Each change is asked about, a removed row with no foreign key at all, since a left join answers each.
            return send(new, Instruction::AnswerAlways, cx);
        }
        match (change.new.is_some(), new, old) {
            (true, None, old) => {
                cx.task.counts.skipped += 1;
                old.map_or(Ok(()), |old| send(Some(old), Instruction::DeleteAndAnswer, cx))
            }
            (true, Some(new), None) => send(Some(new), Instruction::AnswerIfFound, cx),
            (true, Some(new), Some(old)) => {
                if self.differ(Some(&old), Some(&new))? {
                    send(Some(old), Instruction::DeleteSilently, cx)?;
                    send(Some(new), Instruction::AnswerAlways, cx)
                } else {
                    send(Some(new), Instruction::AnswerIfFound, cx)
                }
            }
            (false, _, old) => old.map_or(Ok(()), |old| send(Some(old), Instruction::DeleteAndAnswer, cx)),
        }
    }
}

impl<K, V, F> Subscribe<K, V, F> {
    /// Whether two foreign keys differ, by their bytes.
    fn differ(&self, a: Option<&F>, b: Option<&F>) -> Result<bool, Box<Failure>> {
        let bytes = |key: Option<&F>| {
            let encode = |key: &F| {
                let mut out = Vec::new();
                self.foreign_key.encode(key, &mut out).map(|()| out)
            };
            key.map(encode).transpose().map_err(|source| encode_failure(&self.name, "foreign key", source))
        };
        Ok(bytes(a)? != bytes(b)?)
    }
}

/// Keeps the subscriptions to foreign keys.
pub(crate) struct Receive<K, F> {
    pub store: usize,
    pub out: Out<Option<F>, Subscription<K>>,
}

impl<K, F> Operator<Option<F>, Subscription<K>> for Receive<K, F>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    F: Clone + std::hash::Hash + Eq + Send + 'static,
{
    fn process(&mut self, record: Record<Option<F>, Subscription<K>>, cx: &mut Cx<'_>) -> Flow {
        let Some(subscription) = &record.value else { return Ok(()) };
        match &record.key {
            None if subscription.instruction != Instruction::AnswerAlways => {
                cx.task.counts.skipped += 1;
                return Ok(());
            }
            None => {}
            Some(foreign) => {
                let place = CombinedKey { foreign: foreign.clone(), key: subscription.key.clone() };
                let kept = (!subscription.instruction.deletes()).then(|| subscription.clone());
                store::<CombinedKey<F, K>, Subscription<K>>(cx, self.store).put(
                    &place,
                    kept,
                    record.timestamp,
                )?;
            }
        }
        self.out.forward(record, cx)
    }
}

/// Answers a subscription with the right table's row as it is now.
pub(crate) struct Answer<K, F, T> {
    pub right: Box<dyn Look<F, T>>,
    pub out: Out<K, Response<T>>,
}

impl<K, F, T> Operator<Option<F>, Subscription<K>> for Answer<K, F, T>
where
    K: Clone + Send + 'static,
    F: Clone + Send + 'static,
    T: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<Option<F>, Subscription<K>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key: foreign, value, timestamp, headers } = record;
        let Some(Subscription { hash, instruction, key, partition }) = value else { return Ok(()) };
        let row = match &foreign {
            Some(foreign) => self.right.row(cx.task, foreign)?,
            None => None,
        };
        let timestamp = row.as_ref().map_or(timestamp, |(_, at)| timestamp.max(*at));
        let row = row.map(|(row, _)| row);
        let answer = match instruction {
            Instruction::DeleteSilently => return Ok(()),
            Instruction::AnswerIfFound if row.is_none() => return Ok(()),
            Instruction::DeleteAndAnswer => None,
            Instruction::AnswerIfFound | Instruction::AnswerAlways => row,
        };
        let value = Some(Response { hash, value: answer, partition });
        self.out.forward(Record { key, value, timestamp, headers }, cx)
    }
}

/// Tells each subscriber of a foreign key that its row of the right table has changed.
pub(crate) struct Notify<K, F, T> {
    pub name: Arc<str>,
    pub store: usize,
    pub keys: Arc<CombinedKeys<F, K>>,
    pub versioned: bool,
    pub out: Out<K, Response<T>>,
}

impl<K, F, T> Operator<F, Change<T>> for Notify<K, F, T>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    F: Clone + std::hash::Hash + Eq + Send + 'static,
    T: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<F, Change<T>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key: foreign, value, timestamp, headers } = record;
        let Some(change) = value else { return Ok(()) };
        if self.keys.foreign.is_null(&foreign) || self.versioned && !change.latest {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        let mut prefix = Vec::new();
        self.keys
            .prefix(&foreign, &mut prefix)
            .map_err(|source| encode_failure(&self.name, "foreign key", source))?;
        let end = after_prefix(&prefix);
        let held = store_of::<CombinedKey<F, K>, Subscription<K>>(cx.task, self.store);
        let scan = held.scan(std::ops::Bound::Included(prefix), end, false)?;
        let subscribers: Result<Vec<_>, StateError> = scan.collect();
        for (_, subscription, _) in subscribers? {
            let Subscription { hash, key, partition, .. } = subscription;
            let value = Some(Response { hash, value: change.new.clone(), partition });
            let headers: Headers = headers.clone();
            self.out.forward(Record { key, value, timestamp, headers }, cx)?;
        }
        Ok(())
    }
}

/// Joins an answer with the left table's row, if that is still the one that asked.
pub(crate) struct Resolve<K, V, T, W> {
    pub name: Arc<str>,
    pub join: RowJoiner<K, V, T, W>,
    pub value: SerdeRef<V>,
    pub left: bool,
    pub table: Box<dyn Look<K, V>>,
    pub out: Out<K, W>,
}

impl<K, V, T, W> Operator<K, Response<T>> for Resolve<K, V, T, W>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    T: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, Response<T>>, cx: &mut Cx<'_>) -> Flow {
        let Some(response) = &record.value else { return Ok(()) };
        let row = self.table.row(cx.task, &record.key)?.map(|(row, _)| row);
        let hash = row.as_ref().map(|row| hash_of(&self.value, row, &self.name)).transpose()?;
        if hash != response.hash {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        let found = response.value.as_ref();
        let joins = row.is_some() && (found.is_some() || self.left);
        let joined = joins.then(|| (self.join)(&record.key, row.as_ref(), found));
        self.out.forward(record.with_value(joined), cx)
    }
}
