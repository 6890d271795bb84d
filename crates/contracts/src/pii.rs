//! Personal data that cannot be printed by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A personal value. `Debug` and `Display` show `[personal]`; the value itself comes out only through [`Pii::reveal`] (which a
/// reviewer can search for) and through serialisation, which writes it as it is: what is serialised to a topic or a store is
/// covered by that topic's contract.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pii<T>(T);

impl<T> Pii<T> {
    /// Marks a value as personal.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value. Call it only where the value must leave for someone who may see it.
    pub fn reveal(&self) -> &T {
        &self.0
    }

    /// The value, by move.
    pub fn into_revealed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Pii<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}

impl<T> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_is_not_printed() {
        let name = Pii::new(String::from("Cameron Williams"));
        assert_eq!(format!("{name} {name:?} {:?}", Some(&name)), "[personal] [personal] Some([personal])");
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"Cameron Williams\"");
    }
}
