//! The end of the store's journal after a crash, looked at before the store is opened.
//!
//! When the machine loses power while a batch is being written, any of that batch's pages may be missing. fjall takes what it cannot
//! parse for the end, but refuses to open when the checksum of the torn batch does not fit, and takes damage in the middle for the end
//! too, which would lose what was acknowledged after it. So, before it looks:
//! - a batch that is not whole and has no whole one behind it was never acknowledged: it is cut off;
//! - one that has whole ones behind it is damage: the log is not opened, and says so.
//!
//! The journal's format (fjall 3), little endian:
//! ```text
//! batch  1 | u32 items | u64 sequence number | item* | 3 | u64 xxh3 of the items | "FJL" 3
//! item   2 | u8 kind | u8 compression | u64 keyspace | u16 key length | u32 value length | u32 length on disk | key | value
//!        or 4 | u64 keyspace                                                              (the keyspace is cleared)
//! ```

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8] = b"FJL\x03";
/// No batch has a number so far behind the one before it.
const WIDEST_STEP: u64 = 1 << 32;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Everything is whole, from now on at least.
    Whole,
    /// Bytes in the middle of this file are not what was written.
    Damaged(PathBuf),
}

/// Cuts a torn batch off the journals in `store`. With `all_synced`, whatever is followed by a whole batch was acknowledged; without,
/// several batches may have been on their way at once, and the first torn one is the end.
pub(crate) fn mend(store: &Path, all_synced: bool) -> Result<State> {
    if std::fs::read(store.join("version")).ok().as_deref() != Some(MAGIC) {
        return Ok(State::Whole);
    }
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(store)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort();
    let newest = journals.last().map(|(number, _)| *number);
    for (number, path) in journals {
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        let end = end_of_whole(&mut file)?;
        let Some(rest) = first_not_zero(&mut file, end.at)? else { continue };
        // Older journals were complete on disk before the next one began.
        if Some(number) != newest || (all_synced && has_batch_behind(&mut file, rest, end.number)?) {
            return Ok(State::Damaged(path));
        }
        file.set_len(end.at)?;
        file.sync_all()?;
    }
    Ok(State::Whole)
}

/// Behind the last of the batches that are whole from the start on.
struct End {
    at: u64,
    /// That batch's number.
    number: u64,
}

fn end_of_whole(file: &mut File) -> Result<End> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut end = End { at: 0, number: 0 };
    let mut buffer = Vec::new();
    while let Some((length, number)) = read_batch(&mut reader, &mut buffer)? {
        end = End { at: end.at + length, number };
    }
    Ok(end)
}

fn first_not_zero(file: &mut File, from: u64) -> Result<Option<u64>> {
    file.seek(SeekFrom::Start(from))?;
    let mut at = from;
    let mut chunk = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(None);
        }
        if let Some(found) = chunk.iter().take(read).position(|byte| *byte != 0) {
            return Ok(Some(at + found as u64));
        }
        at += read as u64;
    }
}

/// Whether a whole batch begins anywhere from `from` on.
fn has_batch_behind(file: &mut File, from: u64, after: u64) -> Result<bool> {
    const START: usize = 13;
    file.seek(SeekFrom::Start(from))?;
    let mut window = Vec::new();
    let mut at = from;
    let mut buffer = Vec::new();
    loop {
        let before = window.len();
        Read::by_ref(file).take(256 << 10).read_to_end(&mut window)?;
        if window.len() == before {
            return Ok(false);
        }
        for (offset, start) in window.windows(START).enumerate() {
            let mut start = start;
            let likely = array::<1>(&mut start)? == [1]
                && u32::from_le_bytes(array(&mut start)?) > 0
                && (after..after.saturating_add(WIDEST_STEP))
                    .contains(&u64::from_le_bytes(array(&mut start)?));
            if likely {
                let position = file.stream_position()?;
                file.seek(SeekFrom::Start(at + offset as u64))?;
                if read_batch(&mut BufReader::new(&mut *file), &mut buffer)?.is_some() {
                    return Ok(true);
                }
                file.seek(SeekFrom::Start(position))?;
            }
        }
        let passed = window.len().saturating_sub(START - 1);
        window.drain(..passed);
        at += passed as u64;
    }
}

/// The length and number of the batch that begins here; `None` when it is not whole.
fn read_batch(reader: &mut impl Read, buffer: &mut Vec<u8>) -> Result<Option<(u64, u64)>> {
    match try_read_batch(reader, buffer) {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn try_read_batch(reader: &mut impl Read, buffer: &mut Vec<u8>) -> Result<Option<(u64, u64)>> {
    if array::<1>(reader)? != [1] {
        return Ok(None);
    }
    let items = u32::from_le_bytes(array(reader)?);
    let number = u64::from_le_bytes(array(reader)?);
    let mut length = 13;
    let mut hash = Xxh3::new();
    for _ in 0..items {
        let tag = array::<1>(reader)?;
        hash.update(&tag);
        match tag {
            [2] => {
                let head = array::<20>(reader)?;
                hash.update(&head);
                // After kind, compression and keyspace: the lengths of the key, of the value, and of the value on disk.
                let mut lengths = head.get(10..).unwrap_or_default();
                let key = u64::from(u16::from_le_bytes(array(&mut lengths)?));
                array::<4>(&mut lengths)?;
                let rest = key + u64::from(u32::from_le_bytes(array(&mut lengths)?));
                buffer.clear();
                let read = Read::by_ref(reader).take(rest).read_to_end(buffer)?;
                if (read as u64) < rest {
                    return Err(Error::from(ErrorKind::UnexpectedEof));
                }
                hash.update(buffer);
                length += 21 + rest;
            }
            [4] => {
                hash.update(&array::<8>(reader)?);
                length += 9;
            }
            _ => return Ok(None),
        }
    }
    let whole = array::<1>(reader)? == [3]
        && u64::from_le_bytes(array(reader)?) == hash.digest()
        && array::<4>(reader)? == MAGIC;
    Ok(whole.then_some((length + 13, number)))
}

fn array<const N: usize>(reader: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store with one journal of `batches` batches, and where each of them ends.
    fn store(batches: u64) -> (tempfile::TempDir, Vec<u8>, Vec<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut ends = Vec::new();
        {
            let db = fjall::Database::builder(&path).open().unwrap();
            let keyspace = db.keyspace("k", fjall::KeyspaceCreateOptions::default).unwrap();
            for i in 0..batches {
                let mut batch = db.batch().durability(Some(fjall::PersistMode::SyncData));
                for j in 0..=i % 3 {
                    let value: Vec<u8> =
                        (0..10_000_u64).map(|n| ((n * n * (i + 3)) >> (j + 3)) as u8).collect();
                    batch.insert(&keyspace, [i as u8, j as u8], value);
                }
                batch.remove(&keyspace, [255]);
                batch.commit().unwrap();
                let bytes = std::fs::read(path.join("0.jnl")).unwrap();
                ends.push(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
            }
        }
        let bytes = std::fs::read(path.join("0.jnl")).unwrap();
        (folder, bytes, ends)
    }

    /// Writes the journal, mends it, and tells how many batches fjall finds then.
    fn mended(folder: &Path, bytes: &[u8], all_synced: bool) -> Option<usize> {
        let store = folder.join("store");
        let journal = store.join("0.jnl");
        std::fs::write(&journal, bytes).unwrap();
        if mend(&store, all_synced).unwrap() != State::Whole {
            return None;
        }
        let end = end_of_whole(&mut File::open(&journal).unwrap()).unwrap();
        assert_eq!(first_not_zero(&mut File::open(&journal).unwrap(), end.at).unwrap(), None);
        let db = fjall::Database::builder(&store).open().unwrap();
        let keyspace = db.keyspace("k", fjall::KeyspaceCreateOptions::default).unwrap();
        let firsts = keyspace.iter().map(|guard| guard.key().unwrap()[0]);
        let mut seen: Vec<u8> = firsts.collect();
        seen.dedup();
        Some(seen.len())
    }

    #[test]
    fn the_format_is_fjalls() {
        let (folder, bytes, ends) = store(6);
        let journal = folder.path().join("store/0.jnl");
        assert_eq!(
            end_of_whole(&mut File::open(&journal).unwrap()).unwrap().at,
            *ends.last().unwrap() as u64
        );
        assert_eq!(mended(folder.path(), &bytes, true), Some(6));
        assert_eq!(std::fs::read(&journal).unwrap().iter().rposition(|byte| *byte != 0), Some(ends[5] - 1));
    }

    #[test]
    fn a_torn_end_is_cut_off_whatever_is_missing() {
        let (folder, bytes, ends) = store(6);
        let (start, end) = (ends[4], ends[5]);
        // Cut short at many places, then holes of a page as a loss of power leaves them.
        let cuts = (start + 1..end).step_by(997).map(|cut| (cut, end)).chain([
            (end - 1, end),
            (end - 4, end),
            (end - 9, end),
            (start + 15, end),
            (start + 30, end),
        ]);
        let holes = (start..end - 4_096).step_by(4_096).map(|hole| (hole, hole + 4_096));
        for (from, to) in cuts.chain(holes) {
            let mut torn = bytes.clone();
            torn[from..to].fill(0);
            assert_eq!(
                mended(folder.path(), &torn, true),
                Some(5),
                "zeros from {from} to {to} of {start}..{end}"
            );
        }
    }

    #[test]
    fn damage_in_the_middle_is_no_end() {
        let (folder, bytes, ends) = store(4);
        let (start, end) = (ends[1], ends[2]);
        for at in [start, start + 2, start + 13, start + 20, (start + end) / 2, end - 1, end - 6] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(mended(folder.path(), &damaged, true), None, "a bit of byte {at} in {start}..{end}");
            assert_eq!(mended(folder.path(), &damaged, false), Some(2), "byte {at}, when not all was synced");
        }
    }
}
