//! What foreign-key joins send through their two topics, in Kafka Streams' own bytes.
//!
//! # Format
//! ```text
//! subscription   u8 version 1 (with 128: no hash) | u8 instruction | hash, 16 bytes | key | u32 partition of the asking row
//! response       u8 version 0 (with 128: no hash) | hash, 16 bytes | row; nothing if there is none
//! ```
//! Numbers are big endian. As in Kafka Streams, a row whose bytes are empty cannot be told from no row. Version 0 of a subscription has no
//! partition.

use crate::serde::{Serde, SerdeError, SerdeRef};

/// What to do with a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Remove it and say nothing: another one takes its place.
    DeleteSilently,
    /// Remove it and answer that there is nothing.
    DeleteAndAnswer,
    /// Answer with the row, or that there is none.
    AnswerAlways,
    /// Answer if there is a row.
    AnswerIfFound,
}

impl Instruction {
    pub(crate) fn deletes(self) -> bool {
        matches!(self, Self::DeleteSilently | Self::DeleteAndAnswer)
    }

    fn byte(self) -> u8 {
        match self {
            Self::DeleteSilently => 0,
            Self::DeleteAndAnswer => 1,
            Self::AnswerAlways => 2,
            Self::AnswerIfFound => 3,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::DeleteSilently, Self::DeleteAndAnswer, Self::AnswerAlways, Self::AnswerIfFound]
            .into_iter()
            .find(|instruction| instruction.byte() == byte)
    }
}

/// A row of the left table that wants to hear of a foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription<K> {
    /// The row's hash; `None` if it was removed.
    pub hash: Option<[u64; 2]>,
    pub instruction: Instruction,
    pub key: K,
    /// Where the row lives; unknown in version 0.
    pub partition: Option<u32>,
}

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response<T> {
    /// The hash of the row that asked.
    pub hash: Option<[u64; 2]>,
    /// The right table's row.
    pub value: Option<T>,
    /// Where the asking row lives; not part of the bytes.
    pub partition: Option<u32>,
}

const NO_HASH: u8 = 0x80;

fn put_hash(version: u8, hash: Option<[u64; 2]>, after: &[u8], out: &mut Vec<u8>) {
    out.push(if hash.is_some() { version } else { version | NO_HASH });
    out.extend_from_slice(after);
    for part in hash.into_iter().flatten() {
        out.extend_from_slice(&part.to_be_bytes());
    }
}

/// The hash, if the first byte says that there is one, and what follows.
fn take_hash(first: u8, bytes: &[u8]) -> Option<(Option<[u64; 2]>, &[u8])> {
    if first & NO_HASH != 0 {
        return Some((None, bytes));
    }
    let (a, rest) = bytes.split_first_chunk::<8>()?;
    let (b, rest) = rest.split_first_chunk::<8>()?;
    Some((Some([u64::from_be_bytes(*a), u64::from_be_bytes(*b)]), rest))
}

pub(crate) struct SubscriptionSerde<K>(pub SerdeRef<K>);

const SUBSCRIPTION: &str = "a subscription of a foreign-key join";

impl<K> Serde<Subscription<K>> for SubscriptionSerde<K> {
    fn encode(&self, value: &Subscription<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let version = u8::from(value.partition.is_some());
        put_hash(version, value.hash, &[value.instruction.byte()], out);
        self.0.encode(&value.key, out)?;
        out.extend(value.partition.iter().flat_map(|partition| partition.to_be_bytes()));
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Subscription<K>, SerdeError> {
        let broken = || SerdeError::new(SUBSCRIPTION, "it is cut off or of another version");
        let ([first, instruction], rest) = bytes.split_first_chunk::<2>().ok_or_else(broken)?;
        let instruction = Instruction::of(*instruction).ok_or_else(broken)?;
        let (hash, rest) = take_hash(*first, rest).ok_or_else(broken)?;
        let (key, partition) = match first & !NO_HASH {
            0 => (rest, None),
            1 => {
                let (key, partition) = rest.split_last_chunk::<4>().ok_or_else(broken)?;
                (key, Some(u32::from_be_bytes(*partition)))
            }
            _ => return Err(broken()),
        };
        Ok(Subscription { hash, instruction, key: self.0.decode(key)?, partition })
    }
}

pub(crate) struct ResponseSerde<T>(pub SerdeRef<T>);

impl<T> Serde<Response<T>> for ResponseSerde<T> {
    fn encode(&self, value: &Response<T>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        put_hash(0, value.hash, &[], out);
        value.value.as_ref().map_or(Ok(()), |row| self.0.encode(row, out))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Response<T>, SerdeError> {
        let broken =
            || SerdeError::new("a response of a foreign-key join", "it is cut off or of another version");
        let (first, rest) = bytes.split_first().ok_or_else(broken)?;
        if first & !NO_HASH != 0 {
            return Err(broken());
        }
        let (hash, row) = take_hash(*first, rest).ok_or_else(broken)?;
        let value = if row.is_empty() { None } else { Some(self.0.decode(row)?) };
        Ok(Response { hash, value, partition: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::serde::Utf8;

    #[test]
    fn subscriptions_are_kafka_streams_bytes() {
        let serde = SubscriptionSerde::<String>(Arc::new(Utf8));
        let check = |subscription: Subscription<String>, bytes: &[u8]| {
            let mut out = Vec::new();
            serde.encode(&subscription, &mut out).unwrap();
            assert_eq!(out, bytes, "{subscription:?}");
            assert_eq!(serde.decode(bytes).unwrap(), subscription);
        };
        let key = String::from("k");
        check(
            Subscription {
                hash: None,
                instruction: Instruction::AnswerAlways,
                key: key.clone(),
                partition: Some(3),
            },
            b"\x81\x02k\0\0\0\x03",
        );
        check(
            Subscription {
                hash: Some([1, 2]),
                instruction: Instruction::AnswerIfFound,
                key: key.clone(),
                partition: Some(0),
            },
            b"\x01\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02k\0\0\0\0",
        );
        check(
            Subscription { hash: None, instruction: Instruction::DeleteSilently, key, partition: None },
            b"\x80\0k",
        );
        for broken in [&[][..], &[1], &[0x81, 9, b'k', 0, 0, 0, 0], &[0x82, 0, b'k', 0, 0, 0, 0], &[1, 0, 0]]
        {
            assert!(serde.decode(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn responses_are_kafka_streams_bytes() {
        let serde = ResponseSerde::<String>(Arc::new(Utf8));
        let check = |hash: Option<[u64; 2]>, value: Option<&str>, bytes: &[u8]| {
            let response = Response { hash, value: value.map(String::from), partition: None };
            let mut out = Vec::new();
            serde.encode(&response, &mut out).unwrap();
            assert_eq!(out, bytes, "{response:?}");
            assert_eq!(serde.decode(bytes).unwrap(), response);
        };
        check(None, None, b"\x80");
        check(None, Some("v"), b"\x80v");
        check(Some([1, 2]), Some("v"), b"\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02v");
        assert!(serde.decode(&[]).is_err());
        assert!(serde.decode(&[1, 0]).is_err());
    }
}
