//! The check: one pass over the bytes that builds nothing, then the typed parse.
//!
//! The good path allocates only what the record's type itself needs. What the pass sees is judged against the tree of the contract;
//! only a bad record costs more, because its reasons are written out.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::coerce;
use crate::contract::{Classification, Contract, Kind, Node, Object, UnknownFields};
use crate::violation::{Problem, Violation};

/// At most this many violations of one record are listed.
const LISTED: usize = 64;
/// Longest name of a field that a message repeats, in bytes.
const NAMED: usize = 128;

impl Contract {
    /// The record as `T`, or the first rule that it breaks.
    pub fn check<T: DeserializeOwned>(&self, raw: &[u8]) -> Result<T, Violation> {
        let first = |mut violations: Vec<Violation>| violations.swap_remove(0);
        let (text, coerced) = self.pass(raw).map_err(first)?;
        self.typed(text, coerced)
    }

    /// The record as `T`, or all the rules that it breaks: the first one names it. Never empty on `Err`.
    pub fn check_all<T: DeserializeOwned>(&self, raw: &[u8]) -> Result<T, Vec<Violation>> {
        let (text, coerced) = self.pass(raw)?;
        self.typed(text, coerced).map_err(|violation| vec![violation])
    }

    /// As [`check`](Self::check), for the hottest topics: one parse, straight into `T`, then `rules`, which must say in Rust what
    /// the contract says in YAML. Whatever fails is explained by the contract itself; `rules`' own violation is the answer
    /// where the contract finds nothing. What `T` does not tell (unknown fields) is not checked on this path.
    pub fn check_typed<T: DeserializeOwned>(
        &self,
        raw: &[u8],
        rules: impl FnOnce(&T) -> Option<Violation>,
    ) -> Result<T, Violation> {
        if raw.len() <= self.limits.max_bytes
            && let Ok(value) = serde_json::from_slice::<T>(raw)
        {
            return match rules(&value) {
                None => Ok(value),
                Some(violation) => match self.pass(raw) {
                    Err(mut violations) => Err(violations.swap_remove(0)),
                    Ok(_) => Err(violation),
                },
            };
        }
        self.check(raw)
    }

    fn typed<T: DeserializeOwned>(&self, text: &str, coerced: bool) -> Result<T, Violation> {
        let parsed = if coerced {
            serde_json::from_str(text).and_then(|mut value| {
                coerce::value(&self.root, &mut value);
                serde_json::from_value(value)
            })
        } else {
            serde_json::from_str(text)
        };
        parsed.map_err(|error| Problem::Form { what: without_values(&error) }.violation(&self.name, None))
    }

    /// Checks the bytes. `Ok`: the text, and whether a value needs coercion before the typed parse.
    fn pass<'r>(&self, raw: &'r [u8]) -> Result<(&'r str, bool), Vec<Violation>> {
        let fail = |problem: Problem<'_>| vec![problem.violation(&self.name, None)];
        if raw.len() > self.limits.max_bytes {
            return Err(fail(Problem::Size { bytes: raw.len(), limit: self.limits.max_bytes }));
        }
        let text =
            std::str::from_utf8(raw).map_err(|error| fail(Problem::Utf8 { at: error.valid_up_to() }))?;
        // Spreadsheets and .NET put a byte-order mark in front.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_ascii().is_empty() {
            return Err(fail(Problem::Empty));
        }
        let mut run = Run { contract: self, violations: Vec::new(), coerced: false, stop: None };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let seed = Seed { run: &mut run, node: &self.root, depth: 0 };
        let parsed = seed.deserialize(&mut deserializer).and_then(|_| deserializer.end());
        let Run { mut violations, coerced, stop, .. } = run;
        if let Err(error) = parsed {
            let problem = match stop {
                Some(Stop::Enough) => None,
                Some(Stop::Deep) => Some(Problem::Depth { limit: self.limits.max_depth }),
                None => {
                    Some(Problem::Json { line: error.line(), column: error.column(), cut: error.is_eof() })
                }
            };
            // What cannot be read to its end is named by that, not by what was found before.
            if let Some(problem) = problem {
                violations.insert(0, problem.violation(&self.name, None));
            }
        }
        if violations.is_empty() { Ok((text, coerced)) } else { Err(violations) }
    }
}

/// A parser's message may repeat a value, which may be personal: only the kinds that name fields are passed on.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") || text.starts_with("duplicate field") {
        return text;
    }
    match (error.line(), error.column()) {
        (0, _) => String::from("a value has an unexpected type or is too large"),
        (line, column) => {
            format!("a value at line {line}, column {column} has an unexpected type or is too large")
        }
    }
}

/// Why the pass ended before the record did.
enum Stop {
    Deep,
    Enough,
}

struct Run<'c> {
    contract: &'c Contract,
    violations: Vec<Violation>,
    coerced: bool,
    stop: Option<Stop>,
}

impl<'c> Run<'c> {
    #[cold]
    fn report<E: serde::de::Error>(&mut self, node: &Node, problem: &Problem<'_>) -> Result<(), E> {
        let field = (!node.path.is_empty()).then_some(node.path.as_str());
        self.push(problem.violation(&self.contract.name, field))
    }

    #[cold]
    fn report_at<E: serde::de::Error>(&mut self, path: &str, problem: &Problem<'_>) -> Result<(), E> {
        self.push(problem.violation(&self.contract.name, Some(path)))
    }

    fn push<E: serde::de::Error>(&mut self, violation: Violation) -> Result<(), E> {
        self.violations.push(violation);
        if self.violations.len() >= LISTED {
            self.stop = Some(Stop::Enough);
            return Err(E::custom("enough"));
        }
        Ok(())
    }

    #[cold]
    fn wrong_type<E: serde::de::Error>(&mut self, node: &Node, found: &'static str) -> Result<(), E> {
        if node.path.is_empty() {
            return self.report(node, &Problem::NotAnObject);
        }
        self.report(node, &Problem::Type { expected: node.kind.name(), found })
    }

    fn enter<E: serde::de::Error>(&mut self, depth: usize) -> Result<usize, E> {
        if depth >= self.contract.limits.max_depth {
            self.stop = Some(Stop::Deep);
            return Err(E::custom("too deep"));
        }
        Ok(depth + 1)
    }

    fn text<E: serde::de::Error>(&mut self, node: &'c Node, text: &str) -> Result<(), E> {
        match &node.kind {
            Kind::Any => Ok(()),
            Kind::Text { min, max, choices, not_blank, iso8601 } => {
                if *not_blank && text.trim().is_empty() {
                    return self.report(node, &Problem::Blank);
                }
                // Bytes bound characters from above: counting is needed only near the ends.
                if (*min > 0 || max.is_some_and(|max| text.len() > max)) && {
                    let found = text.chars().count();
                    found < *min || max.is_some_and(|max| found > max)
                } {
                    let found = text.chars().count();
                    return self.report(node, &Problem::Length { min: *min, max: *max, found });
                }
                if !choices.is_empty() && !choices.iter().any(|choice| choice == text) {
                    return self.report(node, &Problem::OneOf { choices });
                }
                if *iso8601 && !coerce::is_iso8601(text) {
                    return self.report(node, &Problem::Iso8601);
                }
                Ok(())
            }
            Kind::Number { integer, .. } if node.coerce => {
                let trimmed = text.trim();
                if trimmed.is_empty() {
                    // An empty cell of a CSV file; the object decides whether it is missed.
                    self.coerced = true;
                    return Ok(());
                }
                match coerce::number(trimmed) {
                    Some(number) if !number.is_finite() => self.report(node, &Problem::Finite),
                    Some(number) if *integer && number.fract() != 0.0 => self.wrong_type(node, "number"),
                    Some(number) => {
                        self.coerced = true;
                        self.range(node, number)
                    }
                    None => self.wrong_type(node, "string"),
                }
            }
            _ => self.wrong_type(node, "string"),
        }
    }

    fn number<E: serde::de::Error>(&mut self, node: &'c Node, number: f64, whole: bool) -> Result<(), E> {
        match &node.kind {
            Kind::Any => Ok(()),
            Kind::Number { integer: true, .. } if !whole => {
                if node.coerce && number.fract() == 0.0 {
                    self.coerced = true;
                    self.range(node, number)
                } else {
                    self.wrong_type(node, "number")
                }
            }
            Kind::Number { .. } => self.range(node, number),
            _ => self.wrong_type(node, "number"),
        }
    }

    fn range<E: serde::de::Error>(&mut self, node: &'c Node, number: f64) -> Result<(), E> {
        let Kind::Number { bounds, numbers, choices, .. } = &node.kind else { return Ok(()) };
        if !bounds.hold(number) {
            let found = (node.classification < Classification::Confidential).then_some(number);
            return self.report(node, &Problem::Range { bounds: *bounds, found });
        }
        if !numbers.is_empty() && !numbers.contains(&number) {
            return self.report(node, &Problem::OneOf { choices });
        }
        Ok(())
    }

    fn object_end<E: serde::de::Error>(
        &mut self,
        object: &'c Object,
        seen: &dyn Fn(usize) -> bool,
        decided: Option<&str>,
    ) -> Result<(), E> {
        for (index, field) in object.fields.iter().enumerate() {
            if seen(index) {
                continue;
            }
            if field.required {
                self.report(&field.node, &Problem::Missing { because: None })?;
            } else if let Some(value) = decided
                && field.required_when.iter().any(|when| when == value)
            {
                let by = object.decider.and_then(|index| object.fields.get(index));
                let because = by.map(|by| (by.name.as_str(), value));
                self.report(&field.node, &Problem::Missing { because })?;
            }
        }
        Ok(())
    }
}

/// What a value was, as far as the object that holds it needs to know.
enum Was<'de> {
    /// There.
    Value,
    /// Null, or an empty text where a number may come as text.
    Nothing,
    /// A text that decides about other fields.
    Text(Cow<'de, str>),
}

struct Seed<'a, 'c> {
    run: &'a mut Run<'c>,
    node: &'c Node,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Was<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Was<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed<'_, '_> {
    fn is_empty_number(&self, text: &str) -> bool {
        self.node.coerce && matches!(self.node.kind, Kind::Number { .. }) && text.trim().is_empty()
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Was<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Was<'de>, E> {
        if !matches!(self.node.kind, Kind::Any | Kind::Boolean) {
            self.run.wrong_type(self.node, "boolean")?;
        }
        Ok(Was::Value)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Was<'de>, E> {
        self.run.number(self.node, number as f64, true)?;
        Ok(Was::Value)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Was<'de>, E> {
        self.run.number(self.node, number as f64, true)?;
        Ok(Was::Value)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Was<'de>, E> {
        self.run.number(self.node, number, false)?;
        Ok(Was::Value)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Was<'de>, E> {
        self.run.text(self.node, text)?;
        if self.node.remember {
            return Ok(Was::Text(Cow::Owned(text.to_owned())));
        }
        Ok(if self.is_empty_number(text) { Was::Nothing } else { Was::Value })
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Was<'de>, E> {
        self.run.text(self.node, text)?;
        if self.node.remember {
            return Ok(Was::Text(Cow::Borrowed(text)));
        }
        Ok(if self.is_empty_number(text) { Was::Nothing } else { Was::Value })
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Was<'de>, E> {
        if self.node.path.is_empty() && !matches!(self.node.kind, Kind::Any) {
            self.run.report(self.node, &Problem::NotAnObject)?;
        }
        Ok(Was::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Was<'de>, A::Error> {
        let depth = self.run.enter(self.depth)?;
        let (item, min, max) = match &self.node.kind {
            Kind::Array { item, min, max } => (item.as_deref(), *min, *max),
            Kind::Any => (None, 0, None),
            _ => {
                self.run.wrong_type(self.node, "array")?;
                (None, 0, None)
            }
        };
        let mut found = 0;
        while let Some(was) =
            elements.next_element_seed(Seed { run: self.run, node: item.unwrap_or(&ANY), depth })?
        {
            if let (Was::Nothing, Some(item)) = (was, item) {
                self.run.wrong_type(item, "null")?;
            }
            found += 1;
        }
        if found < min || max.is_some_and(|max| found > max) {
            self.run.report(self.node, &Problem::Items { min, max, found })?;
        }
        Ok(Was::Value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Was<'de>, A::Error> {
        let depth = self.run.enter(self.depth)?;
        let object = match &self.node.kind {
            Kind::Object(object) => Some(object),
            Kind::Any => None,
            _ => {
                self.run.wrong_type(self.node, "object")?;
                None
            }
        };
        let Some(object) = object else {
            let mut keys = BTreeSet::new();
            while let Some(Key(key)) = entries.next_key_seed(KeySeed)? {
                entries.next_value_seed(Seed { run: self.run, node: &ANY, depth })?;
                if let Some(key) = keys.replace(key) {
                    self.run.report_at(&path_of(self.node, &key), &Problem::Duplicate)?;
                }
            }
            return Ok(Was::Value);
        };
        // Bits for the first 64 fields; the rare wider object uses the set.
        let (mut seen, mut filled) = (Bits::default(), Bits::default());
        let mut others: BTreeSet<Cow<'de, str>> = BTreeSet::new();
        let mut decided: Option<Cow<'de, str>> = None;
        let mut next = 0;
        while let Some(Key(key)) = entries.next_key_seed(KeySeed)? {
            // Producers send fields in the order of the contract more often than not.
            let in_order = object.fields.get(next).filter(|field| field.name == *key).map(|_| next);
            let Some(index) = in_order.or_else(|| object.fields.iter().position(|field| field.name == *key))
            else {
                entries.next_value_seed(Seed { run: self.run, node: &ANY, depth })?;
                match object.unknown {
                    UnknownFields::Allow => {}
                    UnknownFields::Warn => self.run.contract.note_unknown(&path_of(self.node, &key)),
                    UnknownFields::Reject => {
                        let known = object.fields.iter().map(|field| field.name.as_str()).collect();
                        self.run.report_at(&path_of(self.node, &key), &Problem::Unknown { known })?;
                    }
                }
                if let Some(key) = others.replace(key) {
                    self.run.report_at(&path_of(self.node, &key), &Problem::Duplicate)?;
                }
                continue;
            };
            next = index + 1;
            let Some(field) = object.fields.get(index) else { continue };
            if seen.set(index) {
                self.run.report(&field.node, &Problem::Duplicate)?;
            }
            match entries.next_value_seed(Seed { run: self.run, node: &field.node, depth })? {
                Was::Nothing => {}
                Was::Value => {
                    filled.set(index);
                }
                Was::Text(text) => {
                    filled.set(index);
                    decided = Some(text);
                }
            }
        }
        self.run.object_end(object, &|index| filled.get(index), decided.as_deref())?;
        Ok(Was::Value)
    }
}

/// The path of a field of `node`, cut to a length that fits a message.
fn path_of(node: &Node, key: &str) -> String {
    let key = key.get(..key.floor_char_boundary(NAMED)).unwrap_or(key);
    if node.path.is_empty() { key.to_owned() } else { format!("{}.{key}", node.path) }
}

static ANY: Node = Node {
    path: String::new(),
    kind: Kind::Any,
    classification: Classification::Confidential,
    coerce: false,
    remember: false,
};

/// A set of small numbers without allocation up to 63.
#[derive(Default)]
struct Bits {
    low: u64,
    high: BTreeSet<usize>,
}

impl Bits {
    /// Tells whether it was there already.
    fn set(&mut self, index: usize) -> bool {
        if index < 64 {
            let before = self.low;
            self.low |= 1 << index;
            before == self.low
        } else {
            !self.high.insert(index)
        }
    }

    fn get(&self, index: usize) -> bool {
        if index < 64 { self.low & (1 << index) != 0 } else { self.high.contains(&index) }
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'de>(Cow<'de, str>);

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}
