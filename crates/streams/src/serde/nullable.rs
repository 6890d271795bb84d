//! Keys that may be null, and keys that nobody looks at.

use super::{Serde, SerdeError, SerdeRef};

/// `Option<T>`: null is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nullable<S>(S);

impl<S> Nullable<S> {
    /// Null or what `inner` reads.
    pub const fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<T, S: Serde<T>> Serde<Option<T>> for Nullable<S> {
    fn encode(&self, value: &Option<T>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        value.as_ref().map_or(Ok(()), |value| self.0.encode(value, out))
    }
    fn decode(&self, bytes: &[u8]) -> Result<Option<T>, SerdeError> {
        self.0.decode(bytes).map(Some)
    }
    fn is_null(&self, value: &Option<T>) -> bool {
        value.is_none()
    }
    fn decode_null(&self) -> Result<Option<T>, SerdeError> {
        Ok(None)
    }
}

/// `()`: reads whatever is there, writes null. For keys that do not matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ignored;

impl Serde<()> for Ignored {
    fn encode(&self, (): &(), _: &mut Vec<u8>) -> Result<(), SerdeError> {
        Ok(())
    }
    fn decode(&self, _: &[u8]) -> Result<(), SerdeError> {
        Ok(())
    }
    fn is_null(&self, (): &()) -> bool {
        true
    }
    fn decode_null(&self) -> Result<(), SerdeError> {
        Ok(())
    }
}

/// Writes what the serde within writes as null as null, and everything else as no bytes: for topics whose readers look at keys only.
pub(crate) struct NoBytes<T>(pub SerdeRef<T>);

impl<T> Serde<T> for NoBytes<T> {
    #[inline]
    fn encode(&self, _: &T, _: &mut Vec<u8>) -> Result<(), SerdeError> {
        Ok(())
    }
    fn decode(&self, _: &[u8]) -> Result<T, SerdeError> {
        Err(SerdeError::new("nothing", "values were left out when this was written"))
    }
    fn is_null(&self, value: &T) -> bool {
        self.0.is_null(value)
    }
}
