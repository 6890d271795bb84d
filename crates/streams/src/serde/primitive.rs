//! Serdes of strings, numbers and bytes, in Kafka's formats.

use std::sync::Arc;

use super::{Serde, SerdeError};

/// `String` as UTF-8, as Kafka's `StringSerializer`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8;

/// `Arc<str>` and `Box<str>` as UTF-8.
#[derive(Debug, Clone, Copy, Default)]
pub struct SharedUtf8;

macro_rules! text {
    ($($serde:ident $type:ty),*) => {$(
        impl Serde<$type> for $serde {
            #[inline]
            fn encode(&self, value: &$type, out: &mut Vec<u8>) -> Result<(), SerdeError> {
                out.extend_from_slice(value.as_bytes());
                Ok(())
            }
            #[inline]
            fn decode(&self, bytes: &[u8]) -> Result<$type, SerdeError> {
                std::str::from_utf8(bytes).map(<$type>::from).map_err(|e| SerdeError::new("text in UTF-8", e))
            }
        }
    )*};
}
text!(Utf8 String, SharedUtf8 Arc<str>, SharedUtf8 Box<str>);

macro_rules! numbers {
    ($($(#[$doc:meta])* $serde:ident $type:ty, $size:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $serde;

        impl Serde<$type> for $serde {
            #[inline]
            fn encode(&self, value: &$type, out: &mut Vec<u8>) -> Result<(), SerdeError> {
                out.extend_from_slice(&value.to_be_bytes());
                Ok(())
            }
            #[inline]
            fn decode(&self, bytes: &[u8]) -> Result<$type, SerdeError> {
                let array = bytes.try_into().map_err(|_| {
                    SerdeError::new(
                        concat!("a `", stringify!($type), "` in ", $size, " bytes, big endian"),
                        format!("found {} bytes", bytes.len()),
                    )
                })?;
                Ok(<$type>::from_be_bytes(array))
            }
        }
    )*};
}
numbers! {
    /// `i64`, as Kafka's `LongSerializer`.
    I64 i64, "8";
    /// `i32`, as Kafka's `IntegerSerializer`.
    I32 i32, "4";
    /// `u64`, big endian.
    U64 u64, "8";
    /// `u32`, big endian.
    U32 u32, "4";
    /// `f64`, as Kafka's `DoubleSerializer`.
    F64 f64, "8";
    /// `f32`, as Kafka's `FloatSerializer`.
    F32 f32, "4";
}

/// `bool`, one byte, as Kafka's `BooleanSerializer`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bool;

impl Serde<bool> for Bool {
    fn encode(&self, value: &bool, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.push(u8::from(*value));
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<bool, SerdeError> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(SerdeError::new("a `bool` in 1 byte, 0 or 1", format!("found {other:?}"))),
        }
    }
}

/// `bytes::Bytes` as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes;

impl Serde<bytes::Bytes> for Bytes {
    fn encode(&self, value: &bytes::Bytes, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value);
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<bytes::Bytes, SerdeError> {
        Ok(bytes::Bytes::copy_from_slice(bytes))
    }
}

/// `Vec<u8>` as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blob;

impl Serde<Vec<u8>> for Blob {
    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value);
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, SerdeError> {
        Ok(bytes.to_vec())
    }
}
