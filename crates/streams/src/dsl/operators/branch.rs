//! Sends each record to the first branch whose predicate it matches.

use crate::dsl::operators::stateless::Predicate;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::Record;

pub(crate) struct Branch<K, V> {
    /// For each child, in order: its predicate; `None` for the default branch.
    pub branches: Vec<Option<Predicate<K, V>>>,
    pub out: Out<K, V>,
}

impl<K: Clone + Send + 'static, V: Clone + Send + 'static> Operator<K, V> for Branch<K, V> {
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let value = record.value.as_ref();
        let matching = self.branches.iter().position(|predicate| match (predicate, value) {
            (Some(predicate), Some(value)) => predicate(&record.key, value),
            _ => false,
        });
        let chosen = matching.or_else(|| self.branches.iter().position(Option::is_none));
        chosen.map_or(Ok(()), |index| self.out.forward_to(index, record, cx))
    }
}
