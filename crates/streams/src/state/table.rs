//! Entries in memory as bytes: a hash index over chunks of memory in which keys and values lie one after the other.
//!
//! ```text
//! index   (hash, place) for each entry
//! chunk   entry*, each at a multiple of 4 bytes:
//!         small   u8 flags | u8 key length | u8 room for the value | u8 value length | key | value
//!         large   u8 flags | 0 0 0 | u32 key length | u32 room | u32 value length | key | value       (native order)
//! ```
//! A value that fits into the room of the one before is written over it, so that totals and counts never move. An entry costs its
//! bytes, 4 to 7 of head and padding, and 10 to 20 of index: the tenth of what a map of typed keys takes.
//!
//! It is a cache, not a format: nothing of it reaches the disk.

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::ops::Bound;

use hashbrown::HashTable;
use rustc_hash::FxHasher;

const CHUNK: usize = 1 << 20;
/// Entries stand at multiples of 4 bytes; a place counts these.
const UNIT: u32 = 2;
const UNITS_IN_CHUNK: u32 = 18;
const SMALL: usize = 4;
const LARGE: usize = 16;

/// Newer than what the disk has.
const DIRTY: u8 = 1;
/// Removed; the entry says so until the disk knows.
const GONE: u8 = 2;
/// Its head has 16 bytes.
const WIDE: u8 = 4;
/// A newer copy of the entry lies elsewhere.
const DEAD: u8 = 8;

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    at: u32,
}

impl Slot {
    fn full_hash(self) -> u64 {
        spread(self.hash)
    }
}

/// What the table knows of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'t> {
    Value(&'t [u8]),
    Removed,
    Unknown,
}

/// One entry, borrowed.
#[derive(Clone, Copy)]
struct Entry<'t> {
    flags: u8,
    room: usize,
    key: &'t [u8],
    value: &'t [u8],
}

impl Entry<'_> {
    fn size(&self) -> usize {
        size(head(self.flags), self.key.len(), self.room)
    }
    fn value_or_gone(&self) -> Option<&[u8]> {
        (self.flags & GONE == 0).then_some(self.value)
    }
}

fn head(flags: u8) -> usize {
    if flags & WIDE == 0 { SMALL } else { LARGE }
}

fn size(head: usize, key: usize, room: usize) -> usize {
    (head + key + room).next_multiple_of(1 << UNIT)
}

fn hash(key: &[u8]) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    let hash = hasher.finish();
    (hash ^ (hash >> 32)) as u32
}

/// The index looks at the highest bits too.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[derive(Default)]
struct Chunks {
    all: Vec<Vec<u8>>,
}

impl Chunks {
    fn bytes(&self, at: u32) -> &[u8] {
        let chunk = self.all.get((at >> UNITS_IN_CHUNK) as usize).map_or(&[][..], Vec::as_slice);
        let start = ((at & ((1 << UNITS_IN_CHUNK) - 1)) as usize) << UNIT;
        chunk.get(start..).unwrap_or_default()
    }

    fn bytes_mut(&mut self, at: u32) -> &mut [u8] {
        let chunk = self.all.get_mut((at >> UNITS_IN_CHUNK) as usize).map_or(&mut [][..], Vec::as_mut_slice);
        let start = ((at & ((1 << UNITS_IN_CHUNK) - 1)) as usize) << UNIT;
        chunk.get_mut(start..).unwrap_or_default()
    }

    #[inline]
    fn entry(&self, at: u32) -> Entry<'_> {
        let bytes = self.bytes(at);
        let Some((&[flags, key, room, value], rest)) = bytes.split_first_chunk::<SMALL>() else {
            return Entry { flags: DEAD, room: 0, key: &[], value: &[] };
        };
        let (key, room, value, rest) = if flags & WIDE == 0 {
            (usize::from(key), usize::from(room), usize::from(value), rest)
        } else {
            let number = |from: usize| {
                let bytes = rest.get(from..from + 4).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(0, u32::from_ne_bytes) as usize
            };
            (number(0), number(4), number(8), rest.get(12..).unwrap_or_default())
        };
        let (key, rest) = rest.split_at_checked(key).unwrap_or_default();
        Entry { flags, room, key, value: rest.get(..value).unwrap_or_default() }
    }

    fn set_flags(&mut self, at: u32, set: u8, clear: u8) {
        if let Some(flags) = self.bytes_mut(at).first_mut() {
            *flags = *flags & !clear | set;
        }
    }

    /// Writes a value over the one that is there; it must have room.
    fn overwrite(&mut self, at: u32, value: &[u8]) {
        let (flags, key) = {
            let entry = self.entry(at);
            (entry.flags, entry.key.len())
        };
        let bytes = self.bytes_mut(at);
        if flags & WIDE == 0 {
            if let Some(len) = bytes.get_mut(3) {
                *len = value.len() as u8;
            }
        } else if let Some(len) = bytes.get_mut(12..16) {
            len.copy_from_slice(&(value.len() as u32).to_ne_bytes());
        }
        let start = head(flags) + key;
        if let Some(place) = bytes.get_mut(start..start + value.len()) {
            place.copy_from_slice(value);
        }
    }

    /// Adds an entry behind the others.
    fn push(&mut self, flags: u8, key: &[u8], room: usize, value: &[u8]) -> u32 {
        let small = key.len() <= 255 && room <= 255;
        let head = if small { SMALL } else { LARGE };
        let size = size(head, key.len(), room);
        if self.all.last().is_none_or(|chunk| chunk.len() + size > CHUNK) {
            // The first chunk grows, for stores that stay small; an entry larger than a chunk gets one of its own.
            let capacity = if self.all.is_empty() { size.max(1 << 10) } else { CHUNK.max(size) };
            self.all.push(Vec::with_capacity(capacity));
        }
        let number = self.all.len() - 1;
        let Some(chunk) = self.all.last_mut() else { return u32::MAX };
        let start = chunk.len();
        if small {
            chunk.extend_from_slice(&[flags, key.len() as u8, room as u8, value.len() as u8]);
        } else {
            chunk.extend_from_slice(&[flags | WIDE, 0, 0, 0]);
            for length in [key.len(), room, value.len()] {
                chunk.extend_from_slice(&(length as u32).to_ne_bytes());
            }
        }
        chunk.extend_from_slice(key);
        chunk.extend_from_slice(value);
        chunk.resize(start + size, 0);
        (number as u32) << UNITS_IN_CHUNK | (start >> UNIT) as u32
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Table {
    index: HashTable<Slot>,
    chunks: Chunks,
    /// Places of entries newer than the disk, each once; some may be dead.
    dirty: Vec<u32>,
    /// Bytes of entries that are dead.
    dead: usize,
    /// Bytes of all entries.
    filled: usize,
    /// Entries that are not removed.
    present: usize,
    /// All keys in order, once a scan has asked for it.
    ordered: Option<BTreeSet<Box<[u8]>>>,
    ordered_bytes: usize,
}

/// A key in the set of keys costs about this much beside its bytes.
const ORDERED_ENTRY: usize = 32;

impl Table {
    /// The value of a key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Found<'_> {
        let hash = hash(key);
        let found =
            self.index.find(spread(hash), |slot| slot.hash == hash && self.chunks.entry(slot.at).key == key);
        match found.map(|slot| self.chunks.entry(slot.at)) {
            None => Found::Unknown,
            Some(entry) if entry.flags & GONE != 0 => Found::Removed,
            Some(entry) => Found::Value(entry.value),
        }
    }

    /// Puts a value, or notes that there is none any more.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let hash = hash(key);
        let chunks = &self.chunks;
        let found =
            self.index.find_mut(spread(hash), |slot| slot.hash == hash && chunks.entry(slot.at).key == key);
        let Some(slot) = found else {
            let flags = DIRTY | if value.is_none() { GONE } else { 0 };
            let bytes = value.unwrap_or_default();
            let at = self.chunks.push(flags, key, bytes.len(), bytes);
            self.filled += self.chunks.entry(at).size();
            self.dirty.push(at);
            self.present += usize::from(value.is_some());
            self.index.insert_unique(spread(hash), Slot { hash, at }, |slot| slot.full_hash());
            if let Some(ordered) = &mut self.ordered {
                ordered.insert(key.into());
                self.ordered_bytes += key.len() + ORDERED_ENTRY;
            }
            return;
        };
        let entry = self.chunks.entry(slot.at);
        let (flags, room, old_size) = (entry.flags, entry.room, entry.size());
        let was_present = usize::from(flags & GONE == 0);
        self.present = self.present + usize::from(value.is_some()) - was_present;
        match value {
            None => self.chunks.set_flags(slot.at, DIRTY | GONE, 0),
            Some(value) if value.len() <= room => {
                self.chunks.overwrite(slot.at, value);
                self.chunks.set_flags(slot.at, DIRTY, GONE);
            }
            Some(value) => {
                // What has grown once will grow again.
                let room = value.len() + value.len() / 2;
                self.chunks.set_flags(slot.at, DEAD, 0);
                self.dead += old_size;
                slot.at = self.chunks.push(DIRTY, key, room, value);
                self.filled += self.chunks.entry(slot.at).size();
                self.dirty.push(slot.at);
                return;
            }
        }
        if flags & DIRTY == 0 {
            self.dirty.push(slot.at);
        }
    }

    /// Entries, removed ones not counted.
    pub fn len(&self) -> usize {
        self.present
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.all.iter().map(Vec::capacity).sum();
        chunks + self.index.allocation_size() + 4 * self.dirty.capacity() + self.ordered_bytes
    }

    /// Whether anything is newer than the disk.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Calls `each` with everything that is newer than the disk, in order of keys.
    pub fn for_each_dirty<E>(
        &self,
        mut each: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let alive = |at: &&u32| self.chunks.entry(**at).flags & DEAD == 0;
        let mut first: Option<&[u8]> = None;
        let mut common = 0;
        for at in self.dirty.iter().filter(alive) {
            let key = self.chunks.entry(*at).key;
            match first {
                None => (first, common) = (Some(key), key.len()),
                Some(first) => {
                    let both = first.iter().zip(key).take(common);
                    common = both.take_while(|(a, b)| a == b).count();
                }
            }
        }
        // Sorted by the eight bytes in which keys begin to differ: the keys themselves are far apart in memory.
        let mut order: Vec<(u64, u32)> = self
            .dirty
            .iter()
            .filter(alive)
            .map(|at| {
                let key = self.chunks.entry(*at).key.get(common..).unwrap_or_default();
                let mut start = [0; 8];
                for (to, from) in start.iter_mut().zip(key) {
                    *to = *from;
                }
                (u64::from_be_bytes(start), *at)
            })
            .collect();
        order.sort_unstable_by(|(a, at), (b, bt)| {
            a.cmp(b).then_with(|| self.chunks.entry(*at).key.cmp(self.chunks.entry(*bt).key))
        });
        for (_, at) in order {
            let entry = self.chunks.entry(at);
            each(entry.key, entry.value_or_gone())?;
        }
        Ok(())
    }

    /// Notes that the disk has everything. Removed entries are forgotten.
    pub fn clean(&mut self) {
        for at in std::mem::take(&mut self.dirty) {
            let entry = self.chunks.entry(at);
            if entry.flags & DEAD != 0 {
                continue;
            }
            if entry.flags & GONE == 0 {
                self.chunks.set_flags(at, 0, DIRTY);
                continue;
            }
            let hash = hash(entry.key);
            if let Some(ordered) = &mut self.ordered
                && ordered.remove(entry.key)
            {
                self.ordered_bytes -= entry.key.len() + ORDERED_ENTRY;
            }
            self.dead += entry.size();
            if let Ok(found) = self.index.find_entry(spread(hash), |slot| slot.at == at) {
                found.remove();
            }
            self.chunks.set_flags(at, DEAD, 0);
        }
        if self.dead > CHUNK && self.dead > self.filled / 2 {
            self.compact();
        }
    }

    /// Writes what is alive anew. Nothing may be dirty.
    fn compact(&mut self) {
        let old = std::mem::take(&mut self.chunks);
        self.filled = 0;
        self.dead = 0;
        for slot in self.index.iter_mut() {
            let entry = old.entry(slot.at);
            slot.at = self.chunks.push(0, entry.key, entry.room, entry.value);
            self.filled += self.chunks.entry(slot.at).size();
        }
    }

    /// Makes the order of keys that [`range`](Self::range) needs.
    pub fn order(&mut self) {
        if self.ordered.is_none() {
            let keys: BTreeSet<Box<[u8]>> =
                self.index.iter().map(|slot| self.chunks.entry(slot.at).key.into()).collect();
            self.ordered_bytes = keys.iter().map(|key| key.len() + ORDERED_ENTRY).sum();
            self.ordered = Some(keys);
        }
    }

    /// Whether [`range`](Self::range) can be asked: the order is there, or there is nothing to order.
    pub fn is_ordered(&self) -> bool {
        self.ordered.is_some() || self.index.is_empty()
    }

    /// Entries between two keys in order; removed ones come as `None`.
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], Option<&[u8]>)> {
        let keys = self.ordered.iter().flat_map(move |keys| keys.range::<[u8], _>((from, to)));
        keys.map(|key| {
            let value = match self.get(key) {
                Found::Value(value) => Some(value),
                Found::Removed | Found::Unknown => None,
            };
            (&**key, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn dirty(table: &Table) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut all = Vec::new();
        let each = |key: &[u8], value: Option<&[u8]>| {
            all.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            Ok::<(), ()>(())
        };
        table.for_each_dirty(each).unwrap();
        all
    }

    fn check(table: &Table, model: &Model) {
        for (key, value) in model {
            match value {
                Some(value) => assert_eq!(table.get(key), Found::Value(value)),
                None => assert!(matches!(table.get(key), Found::Removed | Found::Unknown)),
            }
        }
        assert_eq!(table.len(), model.values().flatten().count());
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            actions in prop::collection::vec(
                (0_u8..30, 0_usize..40, prop::option::weighted(0.8, 0_usize..600), 0_u8..50), 1..400,
            ),
            order_at in 0_usize..400,
        ) {
            let mut table = Table::default();
            let mut model = Model::new();
            let mut pending = Model::new();
            for (number, (key, key_len, value, event)) in actions.into_iter().enumerate() {
                if number == order_at {
                    table.order();
                }
                // Some keys share a long beginning, some are long, some are a beginning of others.
                let mut bytes = vec![b'k'; if key % 3 == 0 { 300 } else { key_len % 4 }];
                bytes.push(key);
                let value = value.map(|len| vec![number as u8; len]);
                table.put(&bytes, value.as_deref());
                model.insert(bytes.clone(), value.clone());
                pending.insert(bytes, value);
                if event == 0 {
                    prop_assert_eq!(dirty(&table), pending.into_iter().collect::<Vec<_>>());
                    table.clean();
                    pending = Model::new();
                    prop_assert!(!table.is_dirty());
                }
            }
            check(&table, &model);
            prop_assert_eq!(dirty(&table), pending.into_iter().collect::<Vec<_>>());
            table.order();
            let present = |(key, value): (&[u8], Option<&[u8]>)| Some((key.to_vec(), value?.to_vec()));
            let all: Vec<_> = table.range(Bound::Unbounded, Bound::Unbounded).filter_map(present).collect();
            let expect: Vec<_> = model.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            prop_assert_eq!(&all, &expect);
            let reverse = table.range(Bound::Unbounded, Bound::Unbounded).rev().filter_map(present);
            prop_assert!(reverse.eq(expect.into_iter().rev()));
        }
    }

    #[test]
    fn values_that_grow_leave_no_heap_of_old_ones() {
        let mut table = Table::default();
        for len in 1..40_000_usize {
            table.put(b"one", Some(&vec![len as u8; len]));
            if len % 100 == 0 {
                table.clean();
            }
        }
        assert_eq!(table.get(b"one"), Found::Value(&[39_999_usize as u8; 39_999]));
        assert!(table.bytes() < 4 << 20, "{}", table.bytes());
    }

    #[test]
    fn an_entry_costs_a_few_tens_of_bytes() {
        let mut table = Table::default();
        for n in 0..100_000 {
            table.put(format!("U{n}").as_bytes(), Some(&[7; 16]));
        }
        table.clean();
        let each = table.bytes() / 100_000;
        assert!(each < 56, "{each} bytes an entry of 22");
        assert_eq!(table.len(), 100_000);
    }
}
