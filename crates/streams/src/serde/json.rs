//! JSON through `serde`.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use super::{Serde, SerdeError};

/// Any `serde` type as JSON text.
pub struct Json<T>(PhantomData<fn() -> T>);

impl<T> Json<T> {
    /// The JSON serde of `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Json<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Json<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: Serialize + DeserializeOwned> Serde<T> for Json<T> {
    #[inline]
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        serde_json::to_writer(out, value).map_err(|e| SerdeError::new("a value that JSON can hold", e))
    }
    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        // One look at all bytes is cheaper than one at each string. What is not UTF-8 may still be JSON to this type, in strings that it skips.
        let read = match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        };
        read.map_err(|e| SerdeError::new(std::any::type_name::<T>(), e))
    }
}
