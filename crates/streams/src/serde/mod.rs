//! Keys and values to bytes and back.
//!
//! A [`Serde`] writes into a buffer that the caller keeps and reads from a borrowed slice: no allocation of its own.
//! Formats are Kafka's where Kafka has one (integers are big endian, windowed keys as `TimeWindowedSerializer` writes them).

mod custom;
mod json;
mod nullable;
mod primitive;
mod windowed;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

pub use custom::FnSerde;
pub use json::Json;
pub(crate) use nullable::NoBytes;
pub use nullable::{Ignored, Nullable};
pub use primitive::{Blob, Bool, Bytes, F32, F64, I32, I64, SharedUtf8, U32, U64, Utf8};
pub use windowed::{SessionWindowed, TimeWindowed};

use crate::error::BoxError;

/// Bytes that are not what they should be, or a value that has no bytes.
#[derive(Debug, thiserror::Error)]
#[error("{expected}: {source}")]
pub struct SerdeError {
    expected: &'static str,
    source: BoxError,
}

impl SerdeError {
    /// An error with what was expected (for example `JSON of type PageEvent`) and the cause.
    pub fn new(expected: &'static str, source: impl Into<BoxError>) -> Self {
        Self { expected, source: source.into() }
    }
}

/// Writes and reads values of type `T`.
pub trait Serde<T>: Send + Sync {
    /// Appends the bytes of `value` to `out`.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError>;
    /// Reads a value.
    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError>;
    /// Whether this value is written as null. Only [`Nullable`] ones are.
    fn is_null(&self, _value: &T) -> bool {
        false
    }
    /// What a null key is read as; an error for types that have no null.
    fn decode_null(&self) -> Result<T, SerdeError> {
        Err(SerdeError::new(
            "a key that is not null",
            "the record has a null key; read it as `Option<..>` (Nullable) or `()` (Ignored)",
        ))
    }
}

/// A shared serde.
pub type SerdeRef<T> = Arc<dyn Serde<T>>;

impl<T, S: Serde<T> + ?Sized> Serde<T> for Arc<S> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        (**self).encode(value, out)
    }
    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        (**self).decode(bytes)
    }
    fn is_null(&self, value: &T) -> bool {
        (**self).is_null(value)
    }
    fn decode_null(&self) -> Result<T, SerdeError> {
        (**self).decode_null()
    }
}

/// Serdes by type: what a node uses when it was not given one.
#[derive(Default)]
pub(crate) struct SerdeRegistry {
    registered: HashMap<TypeId, Box<dyn Any>>,
}

impl SerdeRegistry {
    pub(crate) fn register<T: 'static>(&mut self, serde: SerdeRef<T>) {
        self.registered.insert(TypeId::of::<T>(), Box::new(serde));
    }

    pub(crate) fn get<T: 'static>(&self) -> Option<SerdeRef<T>> {
        let own = self.registered.get(&TypeId::of::<T>()).and_then(|any| any.downcast_ref::<SerdeRef<T>>());
        own.cloned().or_else(default_serde::<T>)
    }
}

fn same_type<A: 'static, T: 'static>(serde: impl Serde<A> + 'static) -> Option<SerdeRef<T>> {
    let shared: SerdeRef<A> = Arc::new(serde);
    (&shared as &dyn Any).downcast_ref::<SerdeRef<T>>().cloned()
}

/// The serde of a type that has an obvious one: strings, integers, floats, bytes, `Option` of these, and `()`.
pub(crate) fn default_serde<T: 'static>() -> Option<SerdeRef<T>> {
    macro_rules! obvious {
        ($($type:ty => $serde:expr),* $(,)?) => {
            $(if TypeId::of::<T>() == TypeId::of::<$type>() { return same_type::<$type, T>($serde); }
              if TypeId::of::<T>() == TypeId::of::<Option<$type>>() {
                  return same_type::<Option<$type>, T>(Nullable::new($serde));
              })*
        };
    }
    obvious!(
        String => Utf8, i64 => I64, i32 => I32, u64 => U64, u32 => U32, f64 => F64, f32 => F32, bool => Bool,
        bytes::Bytes => Bytes, Vec<u8> => Blob, Arc<str> => SharedUtf8, Box<str> => SharedUtf8,
    );
    if TypeId::of::<T>() == TypeId::of::<()>() {
        return same_type::<(), T>(Ignored);
    }
    None
}

/// Stands where no serde is known, until `build()` refuses the topology.
pub(crate) struct Missing;

impl<T> Serde<T> for Missing {
    fn encode(&self, _: &T, _: &mut Vec<u8>) -> Result<(), SerdeError> {
        Err(SerdeError::new("a serde", "none was given for this type"))
    }
    fn decode(&self, _: &[u8]) -> Result<T, SerdeError> {
        Err(SerdeError::new("a serde", "none was given for this type"))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::{Window, Windowed};

    fn check<T: PartialEq + Debug + 'static>(serde: impl Serde<T>, value: T, bytes: &[u8]) {
        let mut out = Vec::new();
        serde.encode(&value, &mut out).unwrap();
        assert_eq!(out, bytes, "{value:?}");
        assert_eq!(serde.decode(&out).unwrap(), value);
    }

    #[test]
    fn bytes_are_kafkas() {
        check(Utf8, String::from("é"), "é".as_bytes());
        check(I64, 258, &[0, 0, 0, 0, 0, 0, 1, 2]);
        check(I32, -1, &[255; 4]);
        check(F64, 1.0, &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
        check(Bool, true, &[1]);
        check(Json::<Vec<u8>>::new(), vec![1, 2], b"[1,2]");
        check(
            TimeWindowed::new(Utf8, 5),
            Windowed { key: String::from("a"), window: Window { start: 1, end: 6 } },
            b"a\0\0\0\0\0\0\0\x01",
        );
        check(
            SessionWindowed::new(Utf8),
            Windowed { key: String::from("a"), window: Window { start: 1, end: 6 } },
            b"a\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x01",
        );
    }

    #[test]
    fn wrong_bytes_are_errors_that_say_what_was_expected() {
        assert!(Serde::<i64>::decode(&I64, b"123").unwrap_err().to_string().contains("8 bytes"));
        assert!(Serde::<String>::decode(&Utf8, &[0xff]).unwrap_err().to_string().contains("UTF-8"));
        assert!(Json::<u32>::new().decode(b"{").is_err());
        assert!(Serde::<Windowed<String>>::decode(&TimeWindowed::new(Utf8, 5), b"short").is_err());
    }

    #[test]
    fn nulls_are_typed() {
        assert!(Serde::<String>::decode_null(&Utf8).is_err());
        assert_eq!(Nullable::new(Utf8).decode_null().unwrap(), None::<String>);
        assert!(Nullable::new(Utf8).is_null(&None::<String>));
        assert!(default_serde::<Option<i64>>().unwrap().is_null(&None));
        assert!(default_serde::<std::time::Duration>().is_none());
    }
}
