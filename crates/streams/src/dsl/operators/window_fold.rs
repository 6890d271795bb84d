//! How the aggregate of a window grows: by records, and (sessions) by merging.

use std::sync::Arc;

/// The aggregate after a record: `(key, value, aggregate before, if any)`; `None` removes it. The value is null only for folds that count nulls.
pub(crate) type Add<K, V, A> = Arc<dyn Fn(&K, Option<V>, Option<A>) -> Option<A> + Send + Sync>;
/// The aggregate of two sessions: `(key, what is merged so far, the next session)`.
pub(crate) type Merge<K, A> = Arc<dyn Fn(&K, Option<A>, A) -> Option<A> + Send + Sync>;

pub(crate) struct WindowFold<K, V, A> {
    pub add: Add<K, V, A>,
    /// What a merge begins with.
    pub initial: Arc<dyn Fn() -> Option<A> + Send + Sync>,
    pub merge: Merge<K, A>,
    /// Whether null values are records like others, as they are for Kafka Streams' windowed counts.
    pub nulls: bool,
}

impl<K, V, A> Clone for WindowFold<K, V, A> {
    fn clone(&self) -> Self {
        Self {
            add: Arc::clone(&self.add),
            initial: Arc::clone(&self.initial),
            merge: Arc::clone(&self.merge),
            nulls: self.nulls,
        }
    }
}

impl<K: 'static, V: 'static> WindowFold<K, V, i64> {
    pub(crate) fn count() -> Self {
        Self {
            add: Arc::new(|_, _, before| Some(before.unwrap_or(0) + 1)),
            initial: Arc::new(|| Some(0)),
            merge: Arc::new(|_, merged, next| Some(merged.unwrap_or(0) + next)),
            nulls: true,
        }
    }
}

impl<K: 'static, V: 'static> WindowFold<K, V, V> {
    pub(crate) fn reduce(reducer: impl Fn(V, V) -> V + Send + Sync + 'static) -> Self {
        let reducer = Arc::new(reducer);
        let merger = Arc::clone(&reducer);
        let both = |reducer: &dyn Fn(V, V) -> V, before: Option<V>, value: Option<V>| match (before, value) {
            (Some(before), Some(value)) => Some(reducer(before, value)),
            (before, value) => before.or(value),
        };
        Self {
            add: Arc::new(move |_, value, before| both(&*reducer, before, value)),
            initial: Arc::new(|| None),
            merge: Arc::new(move |_, merged, next| both(&*merger, merged, Some(next))),
            nulls: false,
        }
    }
}

impl<K: 'static, V: 'static, A: 'static> WindowFold<K, V, A> {
    /// `merger` is asked for sessions only.
    pub(crate) fn aggregate<R: Into<Option<A>>>(
        initial: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, A) -> R + Send + Sync + 'static,
        merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
    ) -> Self {
        let initial = Arc::new(initial);
        let (first, begin) = (Arc::clone(&initial), Arc::clone(&initial));
        Self {
            add: Arc::new(move |key, value, before| match value {
                Some(value) => aggregator(key, &value, before.unwrap_or_else(|| first())).into(),
                None => before,
            }),
            initial: Arc::new(move || Some(begin())),
            merge: Arc::new(move |key, merged, next| {
                Some(merger(key, merged.unwrap_or_else(|| initial()), next))
            }),
            nulls: false,
        }
    }
}
