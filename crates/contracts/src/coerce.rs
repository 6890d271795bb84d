//! Values that a CSV producer sends as text, brought to the type that the contract says.

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Number, Value};

use crate::contract::{Kind, Node};

/// The number that a text shows: digits, sign, point, exponent. `nan` and `inf` come back as themselves, so that the caller can name them.
pub(crate) fn number(text: &str) -> Option<f64> {
    // `f64::from_str` also takes "infinity" and a leading plus sign, which some producers write.
    text.parse().ok()
}

/// Whether a text is an ISO 8601 time, with or without offset, `T` or blank between date and time.
pub(crate) fn is_iso8601(text: &str) -> bool {
    let text = text.trim();
    text.parse::<Timestamp>().is_ok() || text.parse::<DateTime>().is_ok()
}

/// Brings a value that has passed the check to the types of its contract.
pub(crate) fn value(node: &Node, value: &mut Value) {
    match (&node.kind, value) {
        (Kind::Object(object), Value::Object(map)) => {
            for field in &object.fields {
                if let Some(inner) = map.get_mut(&field.name) {
                    self::value(&field.node, inner);
                }
            }
        }
        (Kind::Array { item: Some(item), .. }, Value::Array(elements)) => {
            elements.iter_mut().for_each(|element| self::value(item, element));
        }
        (Kind::Number { integer, .. }, value) if node.coerce => {
            let found = match &*value {
                Value::String(text) if text.trim().is_empty() => {
                    *value = Value::Null;
                    return;
                }
                Value::String(text) => number(text.trim()),
                Value::Number(found) if *integer && found.is_f64() => found.as_f64(),
                _ => return,
            };
            if let Some(number) = found.and_then(|found| to_number(found, *integer)) {
                *value = Value::Number(number);
            }
        }
        _ => {}
    }
}

fn to_number(number: f64, integer: bool) -> Option<Number> {
    // Beyond 2^53 a float does not say which whole number was meant.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if integer && number.fract() == 0.0 && number.abs() <= EXACT {
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}
