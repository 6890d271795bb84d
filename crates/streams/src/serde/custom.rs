//! Serdes from closures.

use super::{Serde, SerdeError};
use crate::error::BoxError;

type Encode<T> = Box<dyn Fn(&T, &mut Vec<u8>) -> Result<(), BoxError> + Send + Sync>;
type Decode<T> = Box<dyn Fn(&[u8]) -> Result<T, BoxError> + Send + Sync>;

/// A serde made of two closures.
///
/// ```
/// use vigie_streams::serde::{FnSerde, Serde};
/// let hex = FnSerde::new(
///     |n: &u8, out| Ok(out.extend_from_slice(format!("{n:02x}").as_bytes())),
///     |bytes| Ok(u8::from_str_radix(std::str::from_utf8(bytes)?, 16)?),
/// );
/// let mut out = Vec::new();
/// hex.encode(&255, &mut out).unwrap();
/// assert_eq!((out.as_slice(), hex.decode(b"0a").unwrap()), (&b"ff"[..], 10));
/// ```
pub struct FnSerde<T> {
    encode: Encode<T>,
    decode: Decode<T>,
}

impl<T> FnSerde<T> {
    /// Writes with `encode`, reads with `decode`.
    pub fn new(
        encode: impl Fn(&T, &mut Vec<u8>) -> Result<(), BoxError> + Send + Sync + 'static,
        decode: impl Fn(&[u8]) -> Result<T, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self { encode: Box::new(encode), decode: Box::new(decode) }
    }

    /// For sinks: writes with `encode`; reading is an error.
    pub fn write_only(
        encode: impl Fn(&T, &mut Vec<u8>) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(encode, |_| Err("this serde only writes".into()))
    }

    /// For sinks: the text that `display` gives.
    pub fn text(display: impl Fn(&T) -> String + Send + Sync + 'static) -> Self {
        Self::write_only(move |value, out| {
            out.extend_from_slice(display(value).as_bytes());
            Ok(())
        })
    }
}

impl<T> Serde<T> for FnSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        (self.encode)(value, out).map_err(|e| SerdeError::new("a value of the user's own format", e))
    }
    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        (self.decode)(bytes).map_err(|e| SerdeError::new("the user's own format", e))
    }
}
