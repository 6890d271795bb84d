//! What aggregations in windows have in common, whichever windows: time, lateness after a restart, final results, and results held for the commit.

use std::hash::Hash;

use vigie_log::Timestamp;

use super::final_results::FinalResults;
use super::window_fold::WindowFold;
use super::{send_held, store};
use crate::error::{Failure, StateError};
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Headers, Record, Windowed};
use crate::serde::SerdeRef;
use crate::state::TypedStore;

/// A closed window: its place in the store, its aggregate, and its time.
pub(crate) type Closed<P, A> = (P, A, Timestamp);

/// One kind of windows.
pub(crate) trait Cutting<K, V, A>: Copy + Send + Sized + 'static {
    /// Where a window lies in the store.
    type Place: Hash + Eq + Clone + Send + 'static;

    /// Whether a fold that counts null values sees them.
    const SEES_NULLS: bool = true;

    /// The time up to which windows are closed when the latest record has come at `observed`.
    fn close_time(self, observed: Timestamp) -> Timestamp;

    /// The key of a window's results.
    fn window(self, place: Self::Place) -> Windowed<K>;

    /// Adds a record to its windows, `node.observed` being up to date. Tells whether final results may go with it.
    fn add(
        node: &mut WindowedAggregate<K, V, A, Self>,
        record: Record<K, V>,
        close: Timestamp,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Box<Failure>>;

    /// The time that a window must not be later than to be closed at `close`: that of its start, or of a session's end. Negative: none is.
    fn last_closed(self, close: Timestamp) -> Timestamp;

    /// The windows that have closed since `before`, by time and key; `last` is that of [`last_closed`](Self::last_closed).
    fn closed(
        self,
        state: &mut TypedStore<Self::Place, A>,
        key: &SerdeRef<K>,
        before: Timestamp,
        last: Timestamp,
    ) -> Result<Vec<Closed<Self::Place, A>>, StateError>;
}

pub(crate) struct WindowedAggregate<K, V, A, W> {
    pub fold: WindowFold<K, V, A>,
    pub windows: W,
    pub key: SerdeRef<K>,
    pub store: usize,
    pub send_old: bool,
    pub out: Out<Windowed<K>, Change<A>>,
    /// The largest timestamp of the records seen here. Read from the store at the start, so that what was late
    /// before a restart is late after it.
    pub observed: Timestamp,
    /// Where results are sent on when windows close, instead of with each update.
    pub finals: Option<FinalResults>,
}

impl<K: Clone + 'static, V, A: Clone + 'static, W> WindowedAggregate<K, V, A, W> {
    /// Whether nobody waits for each result.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.out.is_empty() || self.finals.is_some()
    }
}

impl<K, V, A, W> Operator<K, V> for WindowedAggregate<K, V, A, W>
where
    K: Clone + Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
    W: Cutting<K, V, A>,
{
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.observed = store::<W::Place, A>(cx, self.store).observed();
        let close = self.windows.close_time(self.observed);
        if let Some(finals) = &mut self.finals {
            finals.resume(close);
        }
        Ok(())
    }

    #[inline]
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let nulls = W::SEES_NULLS && self.fold.nulls;
        if self.key.is_null(&record.key) || record.value.is_none() && !nulls {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        self.observed = self.observed.max(record.timestamp);
        let close = self.windows.close_time(self.observed);
        let headers = self.finals.as_ref().map(|_| record.headers.clone());
        let may = W::add(self, record, close, cx)?;
        let due = may && self.finals.as_mut().is_some_and(|finals| finals.due(close, cx));
        if due { self.send_finals(&headers.unwrap_or_default(), cx) } else { Ok(()) }
    }

    fn before_commit(&mut self, cx: &mut Cx<'_>) -> Flow {
        let windows = self.windows;
        match &self.finals {
            Some(finals) if finals.pending(windows.close_time(self.observed)) => {
                self.send_finals(&Headers::new(), cx)
            }
            Some(_) => Ok(()),
            None => send_held(self.store, &self.out, cx, |place: W::Place| windows.window(place)),
        }
    }
}

impl<K, V, A, W> WindowedAggregate<K, V, A, W>
where
    K: Clone + Send + 'static,
    A: Clone + Send + 'static,
    W: Cutting<K, V, A>,
{
    #[cold]
    fn send_finals(&mut self, headers: &Headers, cx: &mut Cx<'_>) -> Flow {
        let close = self.windows.close_time(self.observed);
        let last = self.windows.last_closed(close);
        let Some(finals) = self.finals.as_mut().filter(|_| last >= 0) else { return Ok(()) };
        let before = finals.advance(close);
        let state = store::<W::Place, A>(cx, self.store);
        for (place, aggregate, timestamp) in self.windows.closed(state, &self.key, before, last)? {
            let key = self.windows.window(place);
            let value = Some(Change::of(Some(aggregate), None));
            self.out.forward(Record { key, value, timestamp, headers: headers.clone() }, cx)?;
        }
        Ok(())
    }
}
