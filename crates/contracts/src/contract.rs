//! A contract, compiled from its YAML into the tree that the check walks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::odcs::{Custom, Document, Property};
use crate::violation::Bounds;

/// A contract file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// Not YAML, or not in the standard's shape.
    #[error("contract {place} cannot be read: {reason}; compare it with the files in contracts/")]
    Yaml {
        /// File.
        place: String,
        /// What the parser said, with line and column.
        reason: String,
    },
    /// The shape is right, the content is not.
    #[error("contract {place}, {field}: {reason}")]
    Invalid {
        /// File.
        place: String,
        /// The property in question.
        field: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A folder or file cannot be read.
    #[error("contracts in {place} cannot be read: {source}; check the path and its permissions")]
    Io {
        /// Folder or file.
        place: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How private a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Classification {
    /// Anyone may see it.
    Public,
    /// Anyone in the house.
    #[default]
    Internal,
    /// Those who need it; masked for others; never in messages.
    Confidential,
    /// Named people only; never in messages.
    Restricted,
}

impl Classification {
    /// As contracts spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }

    /// Whether its values must not stand in messages, and are masked on screens.
    pub fn is_personal(self) -> bool {
        self >= Self::Confidential
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Public, Self::Internal, Self::Confidential, Self::Restricted]
            .into_iter()
            .find(|class| class.as_str() == text)
    }
}

/// What happens to fields that the contract does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownFields {
    /// They pass.
    Allow,
    /// They pass and are counted (see [`Contract::unknown_seen`]).
    #[default]
    Warn,
    /// The record is bad.
    Reject,
}

/// Who answers for a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// Data Owner: decides.
    pub owner: String,
    /// Data Steward: looks after quality.
    pub steward: String,
    /// Data Engineer: operates it.
    pub engineer: String,
}

/// How long records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Without limit.
    Unlimited,
    /// This many days.
    Days(u32),
}

/// What a check accepts at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of a record in bytes.
    pub max_bytes: usize,
    /// Levels of nesting.
    pub max_depth: usize,
}

impl Default for Limits {
    /// 1 MiB and 64 levels.
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_depth: 64 }
    }
}

/// A field as its contract describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its path, with dots for nested ones.
    pub path: String,
    /// `string`, `number`, ...
    pub kind: &'static str,
    /// Whether it is mandatory.
    pub required: bool,
    /// How private it is.
    pub classification: Classification,
    /// What it means.
    pub description: String,
}

/// A contract: check records with [`check`](Self::check) and [`check_all`](Self::check_all).
#[derive(Debug)]
pub struct Contract {
    pub(crate) name: String,
    version: String,
    purpose: String,
    people: People,
    retention: Retention,
    pub(crate) limits: Limits,
    pub(crate) root: Node,
    fields: Vec<FieldInfo>,
    unknown: Mutex<BTreeMap<String, u64>>,
}

/// One place of the tree.
#[derive(Debug)]
pub(crate) struct Node {
    /// With dots; empty for the record itself.
    pub path: String,
    pub kind: Kind,
    pub classification: Classification,
    /// Numbers may come as strings, whole numbers with a fraction of zero.
    pub coerce: bool,
    /// The object that holds it wants its text, to decide which fields are mandatory.
    pub remember: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Any,
    Text { min: usize, max: Option<usize>, choices: Vec<String>, not_blank: bool, iso8601: bool },
    Number { bounds: Bounds, integer: bool, numbers: Vec<f64>, choices: Vec<String> },
    Boolean,
    Object(Object),
    Array { item: Option<Box<Node>>, min: usize, max: Option<usize> },
}

impl Kind {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Text { iso8601: true, .. } => "timestamp",
            Self::Text { .. } => "string",
            Self::Number { integer: true, .. } => "integer",
            Self::Number { .. } => "number",
            Self::Boolean => "boolean",
            Self::Object(_) => "object",
            Self::Array { .. } => "array",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Object {
    pub fields: Vec<Field>,
    pub unknown: UnknownFields,
    /// Which field decides about the others (`requiredWhen`).
    pub decider: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub name: String,
    pub required: bool,
    /// Mandatory where the decider has one of these values.
    pub required_when: Vec<String>,
    pub node: Node,
}

impl Contract {
    /// Compiles a contract from its YAML. `place` is named in errors.
    pub fn from_yaml(text: &str, place: &str) -> Result<Self, ContractError> {
        let document: Document = serde_saphyr::from_str(text)
            .map_err(|error| ContractError::Yaml { place: place.to_owned(), reason: error.to_string() })?;
        Compiler { place, fields: Vec::new() }.compile(document)
    }

    /// A contract that accepts any JSON within the limits: for topics without one.
    pub fn open(name: &str) -> Self {
        let root = Node {
            path: String::new(),
            kind: Kind::Any,
            classification: Classification::Internal,
            coerce: false,
            remember: false,
        };
        Self {
            name: name.to_owned(),
            version: String::from("0"),
            purpose: String::new(),
            people: People::default(),
            retention: Retention::Unlimited,
            limits: Limits::default(),
            root,
            fields: Vec::new(),
            unknown: Mutex::default(),
        }
    }

    /// The same contract with other limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The topic or table that it is about; the first part of every rule's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version of the contract.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the data set is for.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// Who answers for it.
    pub fn people(&self) -> &People {
        &self.people
    }

    /// How long its records are kept.
    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// What it accepts at most.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Every field, nested ones too, in the order of the file.
    pub fn fields(&self) -> &[FieldInfo] {
        &self.fields
    }

    /// How private a field is; one that the contract does not have is confidential, because nobody has said otherwise.
    pub fn classification(&self, path: &str) -> Classification {
        self.fields
            .iter()
            .find(|field| field.path == path)
            .map_or(Classification::Confidential, |f| f.classification)
    }

    /// Fields seen that the contract does not have, with how often (`unknownFields: warn`). The first 64 names are kept.
    pub fn unknown_seen(&self) -> BTreeMap<String, u64> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_unknown(&self, path: &str) {
        const NAMES: usize = 64;
        const LENGTH: usize = 128;
        let path = path.get(..path.floor_char_boundary(LENGTH)).unwrap_or(path);
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = unknown.get_mut(path) {
            *count += 1;
        } else if unknown.len() < NAMES {
            unknown.insert(path.to_owned(), 1);
        }
    }
}

struct Compiler<'a> {
    place: &'a str,
    fields: Vec<FieldInfo>,
}

/// The custom properties that the check knows.
#[derive(Default)]
struct Extras {
    not_blank: bool,
    coerce: Option<bool>,
    required_when: Option<(String, Vec<String>)>,
    unknown: Option<UnknownFields>,
    max_bytes: Option<usize>,
    max_depth: Option<usize>,
}

impl Compiler<'_> {
    fn invalid(&self, field: &str, reason: impl Into<String>) -> ContractError {
        ContractError::Invalid {
            place: self.place.to_owned(),
            field: field.to_owned(),
            reason: reason.into(),
        }
    }

    fn compile(mut self, document: Document) -> Result<Contract, ContractError> {
        if document.kind != "DataContract" || !document.api_version.starts_with("v3.") {
            return Err(self.invalid(
                "kind, apiVersion",
                format!("is {} {}; must be DataContract v3.x", document.kind, document.api_version),
            ));
        }
        if document.status.trim().is_empty() {
            return Err(self.invalid("status", "is blank; write for example active"));
        }
        let mut schema = document.schema.into_iter();
        let (Some(root), None) = (schema.next(), schema.next()) else {
            return Err(
                self.invalid("schema", "must hold exactly one object: one contract is about one topic")
            );
        };
        let name = if root.name.is_empty() { document.id.clone() } else { root.name.clone() };
        let extras = self.extras("customProperties", &document.custom_properties)?;
        let limits = Limits {
            max_bytes: extras.max_bytes.unwrap_or(Limits::default().max_bytes),
            max_depth: extras.max_depth.unwrap_or(Limits::default().max_depth).min(100),
        };
        let unknown = extras.unknown.unwrap_or_default();
        let coerce = extras.coerce.unwrap_or(false);
        let root = self.node(String::new(), root, unknown, coerce, Classification::Internal)?;
        if !matches!(root.kind, Kind::Object(_)) {
            return Err(self.invalid("schema", "must be of logicalType object"));
        }
        let people = |role: &str| {
            let members = document.team.iter().flat_map(|team| &team.members);
            members
                .filter(|person| person.role == role)
                .map(|person| person.username.clone())
                .next()
                .unwrap_or_default()
        };
        let people =
            People { owner: people("owner"), steward: people("steward"), engineer: people("engineer") };
        let mut retention = Retention::Unlimited;
        for sla in &document.sla_properties {
            if sla.property != "retention" {
                continue;
            }
            let days_in = match sla.unit.as_deref() {
                Some("d" | "day" | "days") => 1,
                Some("y" | "yr" | "years") => 365,
                _ => return Err(self.invalid("slaProperties/retention", "unit must be d or y")),
            };
            let value = sla.value.as_u64().and_then(|value| u32::try_from(value).ok());
            let days = value.and_then(|value| value.checked_mul(days_in));
            let days =
                days.ok_or_else(|| self.invalid("slaProperties/retention", "value must be a whole number"))?;
            retention = Retention::Days(days);
        }
        Ok(Contract {
            name: if name.is_empty() { document.name.unwrap_or(document.id) } else { name },
            version: document.version,
            purpose: document.description.unwrap_or_default().purpose,
            people,
            retention,
            limits,
            root,
            fields: self.fields,
            unknown: Mutex::default(),
        })
    }

    fn node(
        &mut self,
        path: String,
        property: Property,
        unknown: UnknownFields,
        coerce: bool,
        inherited: Classification,
    ) -> Result<Node, ContractError> {
        let extras = self.extras(&path, &property.custom_properties)?;
        let classification = match property.classification.as_deref() {
            None => inherited,
            Some(text) => Classification::parse(text).ok_or_else(|| {
                self.invalid(
                    &path,
                    format!("classification {text}; must be public, internal, confidential or restricted"),
                )
            })?,
        };
        let coerce = extras.coerce.unwrap_or(coerce);
        let unknown = extras.unknown.unwrap_or(unknown);
        let valid_values = self.valid_values(&path, &property)?;
        let options = &property.logical_type_options;
        let (logical_type, description) = (property.logical_type.clone(), property.description.clone());
        let bounds = Bounds {
            min: options.minimum,
            max: options.maximum,
            above: options.exclusive_minimum,
            below: options.exclusive_maximum,
        };
        let choices = valid_values.iter().map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let choices: Vec<String> = choices.collect();
        let text = |iso8601| Kind::Text {
            min: options.min_length.unwrap_or(0),
            max: options.max_length,
            choices: choices.clone(),
            not_blank: extras.not_blank,
            iso8601,
        };
        let index = self.fields.len();
        if !path.is_empty() {
            self.fields.push(FieldInfo {
                path: path.clone(),
                kind: "any",
                required: property.required,
                classification,
                description: description.unwrap_or_default(),
            });
        }
        let kind = match logical_type.as_deref() {
            None => Kind::Any,
            Some("string") => text(false),
            Some("timestamp" | "date") => text(true),
            Some(name @ ("number" | "integer")) => {
                let numbers: Option<Vec<f64>> = valid_values.iter().map(Value::as_f64).collect();
                let numbers = numbers.ok_or_else(|| self.invalid(&path, "validValues must be numbers"))?;
                Kind::Number { bounds, integer: name == "integer", numbers, choices }
            }
            Some("boolean") => Kind::Boolean,
            Some("array") => {
                let (min, max) = (options.min_items.unwrap_or(0), options.max_items);
                let item = property.items.map(|item| {
                    self.node(format!("{path}[]"), *item, unknown, coerce, classification).map(Box::new)
                });
                Kind::Array { item: item.transpose()?, min, max }
            }
            Some("object") => {
                Kind::Object(self.object(&path, property.properties, unknown, coerce, classification)?)
            }
            Some(other) => {
                let known = "string, number, integer, boolean, timestamp, date, object or array";
                return Err(self.invalid(&path, format!("logicalType {other}; must be {known}")));
            }
        };
        if let (false, Some(info)) = (path.is_empty(), self.fields.get_mut(index)) {
            info.kind = kind.name();
        }
        Ok(Node { path, kind, classification, coerce, remember: false })
    }

    fn object(
        &mut self,
        path: &str,
        properties: Vec<Property>,
        unknown: UnknownFields,
        coerce: bool,
        classification: Classification,
    ) -> Result<Object, ContractError> {
        let mut object = Object { fields: Vec::with_capacity(properties.len()), unknown, decider: None };
        let mut decider: Option<String> = None;
        for property in properties {
            let (name, required) = (property.name.clone(), property.required);
            if name.is_empty() || object.fields.iter().any(|field| field.name == name) {
                return Err(self
                    .invalid(path, format!("property `{name}` has no name, or one that is there already")));
            }
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let mut required_when = Vec::new();
            if let Some((by, values)) = self.extras(&path, &property.custom_properties)?.required_when {
                if decider.as_ref().is_some_and(|decider| *decider != by) {
                    return Err(
                        self.invalid(&path, "requiredWhen: one field only may decide about the others")
                    );
                }
                decider = Some(by);
                required_when = values;
            }
            let node = self.node(path, property, unknown, coerce, classification)?;
            object.fields.push(Field { name, required, required_when, node });
        }
        if let Some(by) = decider {
            let found = object.fields.iter_mut().enumerate().find(|(_, field)| field.name == by);
            let Some((index, field)) = found else {
                return Err(
                    self.invalid(path, format!("requiredWhen names `{by}`, which is not a field beside it"))
                );
            };
            field.node.remember = true;
            object.decider = Some(index);
        }
        Ok(object)
    }

    fn valid_values(&self, path: &str, property: &Property) -> Result<Vec<Value>, ContractError> {
        let mut valid = Vec::new();
        for rule in &property.quality {
            let values = rule
                .arguments
                .as_ref()
                .map(|arguments| arguments.valid_values.as_slice())
                .unwrap_or_default();
            if rule.metric.as_deref() != Some("invalidValues") || values.is_empty() {
                return Err(self.invalid(
                    path,
                    "quality: only metric invalidValues with arguments.validValues is applied",
                ));
            }
            valid.extend_from_slice(values);
        }
        Ok(valid)
    }

    fn extras(&self, path: &str, custom: &[Custom]) -> Result<Extras, ContractError> {
        let mut extras = Extras::default();
        for Custom { property, value, .. } in custom {
            let wrong =
                |right: &str| self.invalid(path, format!("customProperties {property}: must be {right}"));
            let flag = || value.as_bool().ok_or_else(|| wrong("true or false"));
            let size = || {
                value
                    .as_u64()
                    .and_then(|size| usize::try_from(size).ok())
                    .ok_or_else(|| wrong("a whole number"))
            };
            match property.as_str() {
                "notBlank" => extras.not_blank = flag()?,
                "coerce" => extras.coerce = Some(flag()?),
                "maxBytes" => extras.max_bytes = Some(size()?),
                "maxDepth" => extras.max_depth = Some(size()?),
                "unknownFields" => {
                    extras.unknown = Some(match value.as_str() {
                        Some("allow") => UnknownFields::Allow,
                        Some("warn") => UnknownFields::Warn,
                        Some("reject") => UnknownFields::Reject,
                        _ => return Err(wrong("allow, warn or reject")),
                    });
                }
                "requiredWhen" => {
                    let right = "one field with a list of its values, as {event_type: [achat]}";
                    let map = value.as_object().filter(|map| map.len() == 1).ok_or_else(|| wrong(right))?;
                    let (by, values) = map.iter().next().ok_or_else(|| wrong(right))?;
                    let values = values.as_array().ok_or_else(|| wrong(right))?;
                    let values: Option<Vec<String>> =
                        values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
                    extras.required_when = Some((by.clone(), values.ok_or_else(|| wrong(right))?));
                }
                _ => {
                    let known = "notBlank, coerce, maxBytes, maxDepth, unknownFields, requiredWhen";
                    return Err(self.invalid(
                        path,
                        format!("customProperties {property} is not known; known are {known}"),
                    ));
                }
            }
        }
        Ok(extras)
    }
}
